package report

import (
	"fmt"
	"math"
)

// The ends of the temperature scale in OKLab (lightness, green-red, blue-yellow):
// a straight line there is perceptually uniform, and a blue-to-yellow one of
// rising lightness is read alike by every kind of colour vision.
var (
	coldest = [3]float64{0.40, -0.02, -0.135}
	hottest = [3]float64{0.86, 0.025, 0.150}
)

// Scale returns the colour of x on kelvin's temperature scale, from blue at 0
// (cold) to amber at 1 (hot), as #rrggbb. Numbers outside are clipped; NaN is
// grey.
func Scale(x float64) string {
	if math.IsNaN(x) {
		return "#808080"
	}
	x = math.Max(0, math.Min(1, x))
	var lab [3]float64
	for i := range lab {
		lab[i] = coldest[i] + x*(hottest[i]-coldest[i])
	}
	// OKLab to linear sRGB (B. Ottosson, A perceptual color space for image
	// processing, 2020).
	l := math.Pow(lab[0]+0.3963377774*lab[1]+0.2158037573*lab[2], 3)
	m := math.Pow(lab[0]-0.1055613458*lab[1]-0.0638541728*lab[2], 3)
	s := math.Pow(lab[0]-0.0894841775*lab[1]-1.2914855480*lab[2], 3)
	return fmt.Sprintf("#%02x%02x%02x",
		gamma(4.0767416621*l-3.3077115913*m+0.2309699292*s),
		gamma(-1.2684380046*l+2.6097574011*m-0.3413193965*s),
		gamma(-0.0041960863*l-0.7034186147*m+1.7076147010*s))
}

// gamma encodes a linear sRGB component in a byte.
func gamma(x float64) int {
	x = math.Max(0, math.Min(1, x))
	if x <= 0.0031308 {
		x *= 12.92
	} else {
		x = 1.055*math.Pow(x, 1/2.4) - 0.055
	}
	return int(math.Round(255 * x))
}
