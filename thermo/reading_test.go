package thermo

import (
	"fmt"
	"math"
)

func ExampleFormatError() {
	fmt.Println(FormatError(-0.0123, 0.0004))
	fmt.Println(FormatError(-2.5e-5, 3e-6))
	fmt.Println(FormatError(-3, math.NaN()))
	fmt.Println(FormatError(0.3, 1e-17))
	// Output:
	// −0.01230 ± 0.00040
	// (−2.50 ± 0.30)×10⁻⁵
	// −3
	// 0.3
}
