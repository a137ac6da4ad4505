package report

import (
	"math"

	"github.com/kelvin-ml/kelvin/spectrum"
)

// SpectrumChart draws the share of the eigenvalues of WᵀW above λ on logarithmic
// axes, where a power law is a straight line, beside that of a random matrix with
// the same bulk. The spectrum may not be that of a matrix of zeros.
func SpectrumChart(caption string, s spectrum.Spectrum) LineChart {
	x := s.Eigenvalues
	n := len(x)
	top := x[n-1]
	low := max(x[0], top*1e-5) // what lies below would take the room of the tail
	c := LineChart{Caption: caption, X: "eigenvalue λ of WᵀW (θ²)", Y: "share above λ (1)", LogX: true, LogY: true}
	matrix := Line{Name: "this matrix", Hotness: 1}
	for i, v := range x {
		// Of a large matrix, the tail is drawn whole and the bulk thinned out.
		if v >= low && (n-i <= 200 || i%(1+n/400) == 0) {
			matrix.X, matrix.Y = append(matrix.X, v), append(matrix.Y, float64(n-i)/float64(n))
		}
	}
	random := Line{Name: "random matrix", Hotness: 0}
	law := s.RandomLaw()
	const points = 200
	for i := range points {
		v := low * math.Pow(top/low, float64(i)/(points-1))
		if share := 1 - law(v); share > 0.5/float64(n) {
			random.X, random.Y = append(random.X, v), append(random.Y, share)
		}
	}
	c.Lines = []Line{matrix, random}
	if s.Alpha.Valid() {
		share := float64(s.Alpha.Tail) / float64(n)
		c.Lines = append(c.Lines, Line{
			Name: "power law", Hotness: 0.5,
			X: []float64{s.Alpha.Xmin, top},
			Y: []float64{share, share * math.Pow(top/s.Alpha.Xmin, 1-s.Alpha.Value)},
		})
	}
	return c
}
