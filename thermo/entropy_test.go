package thermo

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"gonum.org/v1/gonum/mat"
	"pgregory.net/rapid"
)

// cholesky returns a lower triangular factor of a strongly correlated
// covariance, and the logarithm of its determinant.
func cholesky(d int) (lower [][]float64, logDet float64) {
	lower = make([][]float64, d)
	for i := range lower {
		lower[i] = make([]float64, d)
		for j := range i {
			lower[i][j] = 1.5 / float64(1+i-j)
		}
		lower[i][i] = math.Pow(10, float64(i%3)) / 2
		logDet += math.Log(lower[i][i])
	}
	return lower, logDet
}

// distributions of known entropy, as a function of the dimension.
var distributions = []struct {
	name    string
	entropy func(d int) float64
	draw    func(rng *rand.Rand, x []float64)
}{
	{"normal", func(d int) float64 { return float64(d) * float64(Normal) }, func(rng *rand.Rand, x []float64) {
		for i := range x {
			x[i] = rng.NormFloat64()
		}
	}},
	{"uniform", func(d int) float64 { return float64(d) * math.Log(3) }, func(rng *rand.Rand, x []float64) {
		for i := range x {
			x[i] = 3*rng.Float64() - 1
		}
	}},
	{"exponential", func(d int) float64 { return float64(d) }, func(rng *rand.Rand, x []float64) {
		for i := range x {
			x[i] = rng.ExpFloat64()
		}
	}},
	{"correlated normal", func(d int) float64 {
		_, logDet := cholesky(d)
		return float64(d)*float64(Normal) + logDet
	}, func(rng *rand.Rand, x []float64) {
		lower, _ := cholesky(len(x))
		for i := range x {
			x[i] = rng.NormFloat64()
		}
		for i := len(x) - 1; i >= 0; i-- {
			var sum float64
			for j := range i + 1 {
				sum += lower[i][j] * x[j]
			}
			x[i] = sum
		}
	}},
}

func sample(rng *rand.Rand, n, d int, draw func(*rand.Rand, []float64)) [][]float64 {
	points := make([][]float64, n)
	for i := range points {
		points[i] = make([]float64, d)
		draw(rng, points[i])
	}
	return points
}

func TestKozachenkoLeonenko(t *testing.T) {
	rng := rand.New(rand.NewPCG(60, 0))
	for _, p := range distributions {
		for _, d := range []int{1, 2, 3, 5, 8} {
			reads(t, fmt.Sprintf("%s in %d dimensions", p.name, d), KozachenkoLeonenko(sample(rng, 3000, d, p.draw)), p.entropy(d))
		}
	}
}

func TestKozachenkoLeonenkoCovers(t *testing.T) {
	rng := rand.New(rand.NewPCG(61, 0))
	for _, p := range distributions {
		for _, d := range []int{1, 3} {
			const repeats, n = 200, 500
			covered := 0
			for range repeats {
				low, high := KozachenkoLeonenko(sample(rng, n, d, p.draw)).Interval(0.95)
				if low < p.entropy(d) && p.entropy(d) < high {
					covered++
				}
			}
			rate := float64(covered) / repeats
			t.Logf("%s in %d dimensions: 95 %% interval covers %.3f", p.name, d, rate)
			if rate < 0.9 {
				t.Errorf("%s in %d dimensions: 95 %% interval covers %g", p.name, d, rate)
			}
		}
	}
}

// TestKozachenkoLeonenkoOwnsUpToBias estimates a ring, which neither whitening
// nor marginals explain.
func TestKozachenkoLeonenkoOwnsUpToBias(t *testing.T) {
	rng := rand.New(rand.NewPCG(62, 0))
	for _, extra := range []int{0, 3} {
		const width = 0.2
		points := sample(rng, 4000, 2+extra, func(rng *rand.Rand, x []float64) {
			radius, angle := math.Sqrt(1+width*rng.Float64()), 2*math.Pi*rng.Float64()
			x[0], x[1] = radius*math.Cos(angle), radius*math.Sin(angle)
			for i := 2; i < len(x); i++ {
				x[i] = rng.NormFloat64()
			}
		})
		want := math.Log(math.Pi*width) + float64(extra)*float64(Normal)
		reads(t, fmt.Sprintf("ring in %d dimensions", 2+extra), KozachenkoLeonenko(points), want)
	}
}

func TestKozachenkoLeonenkoDefects(t *testing.T) {
	rng := rand.New(rand.NewPCG(63, 0))
	good := func() [][]float64 { return sample(rng, 200, 2, distributions[0].draw) }
	for _, test := range []struct {
		change func([][]float64) [][]float64
		want   string
	}{
		{func(p [][]float64) [][]float64 { return nil }, "0 points"},
		{func(p [][]float64) [][]float64 { return p[:20] }, "20 points, at least 100"},
		{func(p [][]float64) [][]float64 { p[7] = p[7][:1]; return p }, "point 7 has 1 coordinates"},
		{func(p [][]float64) [][]float64 { p[0] = nil; return p }, "no coordinates"},
		{func(p [][]float64) [][]float64 { p[9][1] = math.NaN(); return p }, "coordinate 1 of point 9 is NaN"},
		{func(p [][]float64) [][]float64 {
			for _, x := range p {
				x[1] = 2 * x[0]
			}
			return p
		}, "in a plane"},
		{func(p [][]float64) [][]float64 {
			for _, x := range p {
				x[1] = 5
			}
			return p
		}, "standard deviation 0"},
		{func(p [][]float64) [][]float64 {
			for i := range p {
				p[i] = p[i%4]
			}
			return p
		}, "coincide"},
	} {
		if r := KozachenkoLeonenko(test.change(good())); !strings.Contains(r.Invalid, test.want) {
			t.Errorf("%+v, want %q", r, test.want)
		}
	}
}

func TestNeighboursAgainstAllPairs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, d := rapid.IntRange(6, 200).Draw(t, "n"), rapid.IntRange(1, 5).Draw(t, "d")
		coordinate := rapid.Float64Range(-1, 1)
		if rapid.Bool().Draw(t, "ties") {
			coordinate = rapid.Map(rapid.IntRange(-2, 2), func(i int) float64 { return float64(i) })
		}
		points := rapid.SliceOfN(rapid.SliceOfN(coordinate, d, d), n, n).Draw(t, "points")
		tree := newNeighbourTree(points)
		nearest := make([]float64, 5)
		for i, p := range points {
			tree.distances(i, nearest)
			for _, r := range nearest {
				var closer, within int
				for j, q := range points {
					var distance float64
					for a := range q {
						distance = max(distance, math.Abs(p[a]-q[a]))
					}
					if j != i && distance < r {
						closer++
					}
					if j != i && distance <= r {
						within++
					}
				}
				if closer > 4 || within < 1 {
					t.Fatalf("distance %g of point %d: %d closer, %d within", r, i, closer, within)
				}
			}
		}
	})
}

func TestGaussianEntropyEstimates(t *testing.T) {
	rng := rand.New(rand.NewPCG(64, 0))
	for _, n := range []int{12, 100} {
		const d = 8
		want, err := GaussianEntropy(covarianceOf(d))
		if err != nil || math.Abs(want-distributions[3].entropy(d)) > 1e-9 {
			t.Fatalf("entropy %g, want %g: %v", want, distributions[3].entropy(d), err)
		}
		var full, diagonal Series
		var stderr, diagonalErr float64
		for range 2000 {
			points := sample(rng, n, d, distributions[3].draw)
			r := EstimateGaussianEntropy(sampleCovariance(points), float64(n))
			full.Add(r.Value)
			stderr = r.StdErr
			c := sampleCovariance(sample(rng, n, d, distributions[0].draw))
			variances := make([]float64, d)
			for i := range variances {
				variances[i] = c.At(i, i)
			}
			r = EstimateDiagonalEntropy(variances, float64(n))
			diagonal.Add(r.Value)
			diagonalErr = r.StdErr
		}
		reads(t, "full", full.Reading("entropy", "", "nat"), want)
		reads(t, "diagonal", diagonal.Reading("entropy", "", "nat"), d*float64(Normal))
		if r := math.Sqrt(full.Variance()) / stderr; math.Abs(r-1) > 0.07 {
			t.Errorf("%d draws: spread is %g times the error of the full covariance", n, r)
		}
		if r := math.Sqrt(diagonal.Variance()) / diagonalErr; math.Abs(r-1) > 0.07 {
			t.Errorf("%d draws: spread is %g times the error of the variances", n, r)
		}
	}
}

func covarianceOf(d int) *mat.SymDense {
	lower, _ := cholesky(d)
	c := mat.NewSymDense(d, nil)
	for i := range d {
		for j := range i + 1 {
			var sum float64
			for k := range j + 1 {
				sum += lower[i][k] * lower[j][k]
			}
			c.SetSym(i, j, sum)
		}
	}
	return c
}

func sampleCovariance(points [][]float64) *mat.SymDense {
	n, d := len(points), len(points[0])
	c := mat.NewSymDense(d, nil)
	mean := make([]float64, d)
	for _, p := range points {
		for i, x := range p {
			mean[i] += x / float64(n)
		}
	}
	for _, p := range points {
		for i := range d {
			for j := range i + 1 {
				c.SetSym(i, j, c.At(i, j)+(p[i]-mean[i])*(p[j]-mean[j])/float64(n-1))
			}
		}
	}
	return c
}

func TestEntropyDefects(t *testing.T) {
	if _, err := Normal.Entropy(3, 0); err == nil {
		t.Error("no spread has an entropy")
	}
	if _, err := Uniform.Entropy(0, 1); err == nil {
		t.Error("no parameters have an entropy")
	}
	if h, err := Uniform.Entropy(2, 2/math.Sqrt(12)); err != nil || math.Abs(h-2*math.Ln2) > 1e-12 {
		t.Errorf("entropy of two uniforms of width 2: %g, %v", h, err)
	}
	singular := mat.NewSymDense(2, []float64{1, 1, 1, 1})
	if _, err := GaussianEntropy(singular); err == nil {
		t.Error("a singular covariance has an entropy")
	}
	for _, r := range []Reading{
		EstimateGaussianEntropy(singular, 10), EstimateGaussianEntropy(covarianceOf(3), 3),
		EstimateDiagonalEntropy(nil, 10), EstimateDiagonalEntropy([]float64{1, 0}, 10),
		EstimateDiagonalEntropy([]float64{1}, 1), EstimateDiagonalEntropy([]float64{math.NaN()}, 9),
		EstimateGaussianEntropy(covarianceOf(2), math.NaN()),
	} {
		if r.Valid() {
			t.Errorf("valid: %+v", r)
		}
	}
}

func ExampleKozachenkoLeonenko() {
	rng := rand.New(rand.NewPCG(1, 2))
	points := make([][]float64, 2000)
	for i := range points {
		points[i] = []float64{rng.Float64(), 2 * rng.Float64()} // ln 2 nats
	}
	fmt.Println(KozachenkoLeonenko(points))
	// Output: 0.670 ± 0.022 nat
}
