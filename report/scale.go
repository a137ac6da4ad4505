package report

import (
	"fmt"
	"math"
)

// The temperature scale is a curve in OKLab (lightness, green-red, blue-yellow;
// B. Ottosson, A perceptual color space for image processing, 2020): a parabola
// from blue by rose to amber. Lightness and blue-yellow rise all along it, so
// that every kind of colour vision reads it in the same order.
var scaleCurve = [3][3]float64{
	{0.50, -0.02, -0.140},
	{0.66, 0.16, 0.000},
	{0.85, 0.03, 0.150},
}

// scaleColours are colours at equal distances along the curve.
var scaleColours = equalSteps(257)

// Scale returns the colour of x on kelvin's temperature scale, from blue at 0
// (cold) to amber at 1 (hot), as #rrggbb. Equal differences of x look equally
// different. Numbers outside are clipped; NaN is grey.
func Scale(x float64) string {
	if math.IsNaN(x) {
		return "#808080"
	}
	x = math.Max(0, math.Min(1, x))
	return scaleColours[int(math.Round(x*float64(len(scaleColours)-1)))]
}

// equalSteps returns n colours of the scale, at equal distances along its curve.
func equalSteps(n int) []string {
	const fine = 4096
	length := make([]float64, fine+1) // of the curve up to a parameter
	for i := 1; i <= fine; i++ {
		a, b := onCurve(float64(i-1)/fine), onCurve(float64(i)/fine)
		length[i] = length[i-1] + math.Sqrt(math.Pow(b[0]-a[0], 2)+math.Pow(b[1]-a[1], 2)+math.Pow(b[2]-a[2], 2))
	}
	colours := make([]string, n)
	for i, at := 0, 0; i < n; i++ {
		for at < fine && length[at] < length[fine]*float64(i)/float64(n-1) {
			at++
		}
		colours[i] = hex(onCurve(float64(at) / fine))
	}
	return colours
}

// onCurve returns the colour of the scale at a parameter from 0 to 1.
func onCurve(t float64) (lab [3]float64) {
	for i := range lab {
		lab[i] = (1-t)*(1-t)*scaleCurve[0][i] + 2*t*(1-t)*scaleCurve[1][i] + t*t*scaleCurve[2][i]
	}
	return lab
}

// hex returns a colour of OKLab in sRGB, as #rrggbb.
func hex(lab [3]float64) string {
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
