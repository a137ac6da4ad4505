package thermo

import (
	"fmt"
	"math"
)

func ExampleFormat() {
	fmt.Println(Format(-0.01234, 2))
	fmt.Println(Format(-2.5e-15, 4))
	fmt.Println(Format(1e21, 3))
	fmt.Println(Format(math.Inf(-1), 3))
	// Output:
	// −0.012
	// −2.5×10⁻¹⁵
	// 1×10²¹
	// −Inf
}

func ExampleFormatError() {
	fmt.Println(FormatError(-0.0123, 0.0004))
	fmt.Println(FormatError(-2.5e-5, 3e-6))
	fmt.Println(FormatError(-3, math.NaN()))
	fmt.Println(FormatError(0.3, 1e-17))
	fmt.Println(FormatError(-3e-9, 0))
	// Output:
	// −0.01230 ± 0.00040
	// (−2.50 ± 0.30)×10⁻⁵
	// −3
	// 0.3
	// −3×10⁻⁹
}
