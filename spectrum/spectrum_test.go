package spectrum

import (
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gonum.org/v1/gonum/mat"

	"github.com/kelvin-ml/kelvin/checkpoint"
)

var long = flag.Bool("long", false, "run the long tests")

func gaussian(n int, rng *rand.Rand) []float64 {
	x := make([]float64, n)
	for i := range x {
		x[i] = rng.NormFloat64()
	}
	return x
}

// withSpectrum returns a rows × cols matrix, cols ≤ rows, with the given
// eigenvalues of WᵀW and random singular vectors.
func withSpectrum(rows int, eigenvalues []float64, rng *rand.Rand) []float64 {
	cols := len(eigenvalues)
	var left, right mat.QR
	left.Factorize(mat.NewDense(rows, rows, gaussian(rows*rows, rng)))
	right.Factorize(mat.NewDense(cols, cols, gaussian(cols*cols, rng)))
	var u, v, w mat.Dense
	left.QTo(&u)
	right.QTo(&v)
	middle := mat.NewDense(rows, cols, nil)
	for i, x := range eigenvalues {
		middle.Set(i, i, math.Sqrt(x))
	}
	w.Product(&u, middle, v.T())
	return w.RawMatrix().Data
}

func pareto(n int, alpha, xmin float64, rng *rand.Rand) []float64 {
	x := make([]float64, n)
	for i := range x {
		x[i] = xmin * math.Exp(rng.ExpFloat64()/(alpha-1))
	}
	return x
}

// tensorOf writes a tensor to a file and opens it.
func tensorOf(t testing.TB, shape []int, weights []float64) checkpoint.Tensor {
	t.Helper()
	path := filepath.Join(t.TempDir(), "w.safetensors")
	if err := checkpoint.WriteSafetensors(path, []checkpoint.Named{{Name: "w", Shape: shape, F64: weights}}, nil); err != nil {
		t.Fatal(err)
	}
	f, err := checkpoint.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f.Tensors[0]
}

// TestPareto recovers the exponent of matrices whose spectrum is a power law.
func TestPareto(t *testing.T) {
	for seed, alpha := range []float64{2, 3, 4.5} {
		rng := rand.New(rand.NewPCG(uint64(seed), 1))
		w := withSpectrum(400, pareto(300, alpha, 0.5, rng), rng)
		s, err := Of(t.Context(), "w", 400, 300, w, Options{Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		if s.Alpha.PValue < 0.01 || math.Abs(s.Alpha.Value-alpha) > 3*s.Alpha.StdErr || s.Alpha.StdErr > 0.3*alpha {
			t.Errorf("alpha = %v (p = %v), want %v", s.Alpha, s.Alpha.PValue, alpha)
		}
	}
}

// TestMarchenkoPastur knows matrices of independent entries: their variance,
// no outliers, no power law; then one with three directions planted.
func TestMarchenkoPastur(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, shape := range [][2]int{{200, 200}, {400, 200}, {100, 1000}} {
		rows, cols := shape[0], shape[1]
		w := gaussian(rows*cols, rng)
		for i := range w {
			w[i] *= 0.03
		}
		s, err := Of(t.Context(), "w", rows, cols, w, Options{Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		if s.Bulk.Outliers != 0 || !s.Bulk.Random || math.Abs(s.Bulk.Sigma/0.03-1) > 0.02 {
			t.Errorf("%v: bulk %+v", shape, s.Bulk)
		}
		if s.Alpha.Valid() || !strings.Contains(s.Alpha.Invalid, "not a power law") {
			t.Errorf("%v: alpha %v", shape, s.Alpha)
		}
		top := s.Eigenvalues[len(s.Eigenvalues)-1]
		if math.Abs(top/s.Bulk.High-1) > 0.1 {
			t.Errorf("%v: largest eigenvalue %v, edge of the bulk %v", shape, top, s.Bulk.High)
		}
		for k := range 3 { // rank one, well above the edge
			u, v := gaussian(rows, rng), gaussian(cols, rng)
			scale := 0.03 * float64(4+k) * math.Sqrt(float64(max(rows, cols))/float64(rows*cols))
			for i := range w {
				w[i] += scale * u[i/cols] * v[i%cols]
			}
		}
		if s, err = Of(t.Context(), "w", rows, cols, w, Options{Seed: 1}); err != nil {
			t.Fatal(err)
		}
		if s.Bulk.Outliers != 3 || s.Bulk.Random || math.Abs(s.Bulk.Sigma/0.03-1) > 0.05 {
			t.Errorf("%v with 3 directions: bulk %+v", shape, s.Bulk)
		}
	}
}

// TestMarchenkoPasturLaw checks the law against its moments: 1 and 1 + q.
func TestMarchenkoPasturLaw(t *testing.T) {
	for _, q := range []float64{0.01, 0.3, 1} {
		law := newMarchenkoPastur(q)
		var m1, m2 float64
		const n = 100_000
		for i := range n {
			p := (float64(i) + 0.5) / n
			x := law.quantile(p)
			m1 += x / n
			m2 += x * x / n
			if math.Abs(law.cdf(x)-p) > 1e-9 {
				t.Fatalf("q = %v: cdf(quantile(%v)) = %v", q, p, law.cdf(x))
			}
		}
		if math.Abs(m1-1) > 1e-4 || math.Abs(m2-1-q) > 1e-4 {
			t.Errorf("q = %v: moments %v and %v, want 1 and %v", q, m1, m2, 1+q)
		}
	}
}

// TestSameDistribution draws three layers from one distribution: their
// exponents must agree within their errors, for random matrices (on which
// WeightWatcher reads 21.9, 6.5 and 22.0) and for heavy tails.
func TestSameDistribution(t *testing.T) {
	draws := map[string]func(*rand.Rand) []float64{
		"gaussian": func(rng *rand.Rand) []float64 { return gaussian(300*300, rng) },
		"student": func(rng *rand.Rand) []float64 {
			w := make([]float64, 300*300)
			for i := range w { // Student's t with 3 degrees of freedom
				w[i] = rng.NormFloat64() / math.Sqrt((rng.ExpFloat64()*2+math.Pow(rng.NormFloat64(), 2))/3)
			}
			return w
		},
		"pareto": func(rng *rand.Rand) []float64 { return withSpectrum(300, pareto(300, 2.5, 1, rng), rng) },
	}
	for name, draw := range draws {
		var layers []Alpha
		for seed := range 3 {
			s, err := Of(t.Context(), fmt.Sprint(name, seed), 300, 300, draw(rand.New(rand.NewPCG(uint64(seed), 3))), Options{Seed: 1, Resamples: 100})
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%s: %v, p = %v, tail %d, xmin %.3g", name, s.Alpha, s.Alpha.PValue, s.Alpha.Tail, s.Alpha.Xmin)
			layers = append(layers, s.Alpha)
		}
		for i, a := range layers {
			for _, b := range layers[:i] {
				if z := math.Abs(a.Value-b.Value) / math.Hypot(a.StdErr, b.StdErr); !(z < 3) {
					t.Errorf("%s: %v and %v differ by %.1f standard errors", name, a, b, z)
				}
			}
		}
	}
}

// TestCoverage repeats the fit: the 95 % interval of alpha must hold the truth
// about that often, and p-values of true power laws must be below 0.1 rarely.
func TestCoverage(t *testing.T) {
	repeats := 40
	if *long {
		repeats = 400
	}
	inside, refused := 0, 0
	for seed := range repeats {
		rng := rand.New(rand.NewPCG(uint64(seed), 4))
		x := pareto(200, 3, 1, rng)
		slices.Sort(x)
		a, err := fitTail(t.Context(), x, Options{Resamples: 60}, rng)
		if err != nil {
			t.Fatal(err)
		}
		if math.Abs(a.Value-3) < 1.96*a.StdErr {
			inside++
		}
		if !a.Valid() {
			refused++
		}
	}
	covered, lost := float64(inside)/float64(repeats), float64(refused)/float64(repeats)
	t.Logf("the interval held the truth in %.3f of repeats; %.3f of power laws were refused", covered, lost)
	low, most := 0.85, 0.25 // three standard errors of 40 repeats
	if *long {
		low, most = 0.90, 0.15
	}
	if covered < low || lost > most {
		t.Errorf("expected at least %v and at most %v", low, most)
	}
}

// TestBestFit compares with the plain search over all xmin.
func TestBestFit(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	for range 20 {
		x := append(pareto(60, 2.5, 1, rng), gaussian(60, rng)...)
		for i := range x {
			x[i] = math.Abs(x[i])
		}
		slices.Sort(x)
		want := fit{distance: math.Inf(1)}
		for i := 0; i <= len(x)-minTail; i++ {
			tail := x[i:]
			var sum float64
			for _, v := range tail {
				sum += math.Log(v / tail[0])
			}
			n := float64(len(tail))
			alpha := 1 + n/sum
			d := 0.0
			for j, v := range tail {
				model := 1 - math.Pow(v/tail[0], 1-alpha)
				d = max(d, math.Abs(model-float64(j)/n), math.Abs(model-float64(j+1)/n))
			}
			if d < want.distance {
				want = fit{alpha, tail[0], d, len(tail)}
			}
		}
		got := bestFit(x)
		if got.tail != want.tail || math.Abs(got.alpha-want.alpha) > 1e-9 || math.Abs(got.distance-want.distance) > 1e-9 {
			t.Fatalf("got %+v, want %+v", got, want)
		}
	}
}

// TestConvolution compares the views of a kernel with matrices cut by hand.
func TestConvolution(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	const out, in, places = 60, 40, 9
	w := gaussian(out*in*places, rng)
	tensor := tensorOf(t, []int{out, in, 3, 3}, w)
	if v := Views(tensor); !slices.Equal(v, []View{Slices, Unfolded}) {
		t.Fatalf("views %v", v)
	}
	var pooled []float64
	var rank, h float64
	for k := range places {
		slice := make([]float64, out*in)
		for i := range slice {
			slice[i] = w[i*places+k]
		}
		var svd mat.SVD
		svd.Factorize(mat.NewDense(out, in, slice), mat.SVDNone)
		var own []float64
		for _, x := range svd.Values(nil) {
			own = append(own, x*x)
		}
		rank += sum(own) / own[0] / places
		h += entropy(own) / places
		pooled = append(pooled, own...)
	}
	slices.Sort(pooled)
	s, err := Measure(t.Context(), tensor, Slices, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if math.Abs(s.StableRank.Value-rank) > 1e-9 || math.Abs(s.Entropy.Value-h) > 1e-9 {
		t.Errorf("slices: stable rank %v and entropy %v, want %v and %v", s.StableRank, s.Entropy, rank, h)
	}
	if !closeTo(s.Eigenvalues, pooled, 1e-9) || s.Rows != out || s.Cols != in || s.Count != places {
		t.Errorf("slices: %d of %d × %d", s.Count, s.Rows, s.Cols)
	}
	var svd mat.SVD
	svd.Factorize(mat.NewDense(out, in*places, w), mat.SVDNone)
	var unfolded []float64
	for _, x := range svd.Values(nil) {
		unfolded = append(unfolded, x*x)
	}
	slices.Sort(unfolded)
	if s, err = Measure(t.Context(), tensor, Unfolded, Options{}); err != nil || !closeTo(s.Eigenvalues, unfolded, 1e-9) {
		t.Errorf("unfolded: %v, %v", s, err)
	}
}

func closeTo(a, b []float64, tolerance float64) bool {
	return slices.EqualFunc(a, b, func(x, y float64) bool { return math.Abs(x-y) <= tolerance*b[len(b)-1] })
}

// TestSolversAgree compares the ways to an exact spectrum, and the norms with
// their definitions.
func TestSolversAgree(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	for _, shape := range [][2]int{{600, 70}, {70, 600}, {90, 70}} {
		w := gaussian(shape[0]*shape[1], rng)
		var svd mat.SVD
		svd.Factorize(mat.NewDense(shape[0], shape[1], slices.Clone(w)), mat.SVDNone)
		sigma := svd.Values(nil)
		s, err := Measure(t.Context(), tensorOf(t, shape[:], w), Matrix, Options{})
		if err != nil {
			t.Fatal(err)
		}
		var square, p float64
		for _, x := range sigma {
			square += x * x
		}
		for _, x := range sigma {
			p -= x * x / square * math.Log(x*x/square)
		}
		got := []float64{s.Frobenius, s.SpectralNorm.Value, s.StableRank.Value, s.Entropy.Value}
		want := []float64{math.Sqrt(square), sigma[0], square / (sigma[0] * sigma[0]), p}
		for i := range got {
			if math.Abs(got[i]-want[i]) > 1e-9*want[i] {
				t.Errorf("%v: norms, rank and entropy %v, want %v", shape, got, want)
			}
		}
	}
}

// TestLanczos compares the estimate with the full decomposition: a random
// matrix with planted directions, and a power law.
func TestLanczos(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 8))
	const rows, cols = 700, 500
	bulk := gaussian(rows*cols, rng)
	for k := range 5 {
		u, v := gaussian(rows, rng), gaussian(cols, rng)
		for i := range bulk {
			bulk[i] += 0.02 * float64(5+k) * u[i/cols] * v[i%cols]
		}
	}
	for name, w := range map[string][]float64{
		"bulk":   bulk,
		"pareto": withSpectrum(rows, pareto(cols, 2.5, 1, rng), rng),
	} {
		exact, err := Of(t.Context(), "w", rows, cols, slices.Clone(w), Options{Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		for _, transpose := range []bool{false, true} {
			x, shape := w, []int{rows, cols}
			if transpose {
				var tr mat.Dense
				tr.CloneFrom(mat.NewDense(rows, cols, w).T())
				x, shape = tr.RawMatrix().Data, []int{cols, rows}
			}
			tensor := tensorOf(t, shape, x)
			solved, err := lanczos(t.Context(), tensor, shape[0], shape[1], Options{Seed: 1})
			if err != nil {
				t.Fatal(err)
			}
			s := Spectrum{Name: "w", View: Matrix, Shape: shape, Rows: shape[0], Cols: shape[1], Count: 1}
			if err := s.describe(t.Context(), solved, Options{Seed: 1}); err != nil {
				t.Fatal(err)
			}
			t.Logf("%s: α %v for %v, entropy %v for %v, norm %v for %v, outliers %d for %d, resolved %.3g", name, s.Alpha, exact.Alpha, s.Entropy, exact.Entropy, s.SpectralNorm, exact.SpectralNorm, s.Bulk.Outliers, exact.Bulk.Outliers, s.Resolved)
			if len(s.Eigenvalues) != cols {
				t.Fatalf("%s: %d eigenvalues, want %d", name, len(s.Eigenvalues), cols)
			}
			if d := math.Abs(s.Frobenius/exact.Frobenius - 1); d > 1e-6 {
				t.Errorf("%s: Frobenius norm off by %v", name, d)
			}
			if d := math.Abs(s.SpectralNorm.Value - exact.SpectralNorm.Value); d > max(s.SpectralNorm.StdErr, 1e-5*exact.SpectralNorm.Value) {
				t.Errorf("%s: spectral norm %v, want %v", name, s.SpectralNorm, exact.SpectralNorm)
			}
			if d := math.Abs(s.Entropy.Value - exact.Entropy.Value); d > 4*s.Entropy.StdErr {
				t.Errorf("%s: entropy %v, want %v", name, s.Entropy, exact.Entropy)
			}
			if s.Bulk.Outliers != exact.Bulk.Outliers && name == "bulk" {
				t.Errorf("%s: %d outliers, want %d", name, s.Bulk.Outliers, exact.Bulk.Outliers)
			}
			if d := math.Abs(s.Alpha.Value - exact.Alpha.Value); d > 3*s.Alpha.StdErr {
				t.Errorf("%s: alpha %v, want %v", name, s.Alpha, exact.Alpha)
			}
		}
	}
}

func TestRefuses(t *testing.T) {
	nan := make([]float64, 100)
	nan[3] = math.NaN()
	if _, err := Measure(t.Context(), tensorOf(t, []int{10, 10}, nan), Matrix, Options{}); err == nil || !strings.Contains(err.Error(), `"w": some weights are NaN or infinite`) {
		t.Errorf("got %v", err)
	}
	if _, err := Measure(t.Context(), tensorOf(t, []int{10, 10}, nan), Slices, Options{}); err == nil || !strings.Contains(err.Error(), "cannot be seen as slices") {
		t.Errorf("got %v", err)
	}
	s, err := Of(t.Context(), "small", 10, 10, gaussian(100, rand.New(rand.NewPCG(1, 1))), Options{})
	if err != nil || !strings.Contains(s.Alpha.Invalid, "too few") {
		t.Errorf("a small matrix: %v, %v", s.Alpha, err)
	}
	if s, err = Of(t.Context(), "alike", 60, 60, identity(60), Options{}); err != nil || !strings.Contains(s.Alpha.Invalid, "all alike") || math.Abs(s.StableRank.Value-60) > 1e-9 {
		t.Errorf("an identity: %+v, %v", s, err)
	}
	for _, shape := range [][]int{{60, 60}, {300, 60}, {60, 60, 2}} {
		view, n := Matrix, shape[0]*shape[1]
		if len(shape) == 3 {
			view, n = Slices, n*shape[2]
		}
		s, err := Measure(t.Context(), tensorOf(t, shape, make([]float64, n)), view, Options{})
		if err != nil || s.Alpha.Invalid != "all weights are zero" || s.Frobenius != 0 || s.SpectralNorm.Value != 0 || s.Entropy.Value != 0 {
			t.Errorf("zeros of shape %v: %+v, %v", shape, s, err)
		}
	}
}

func identity(n int) []float64 {
	x := make([]float64, n*n)
	for i := range n {
		x[i*n+i] = 1
	}
	return x
}

func TestViews(t *testing.T) {
	for _, tt := range []struct {
		shape []int
		want  []View
	}{
		{[]int{100}, nil},
		{[]int{1, 100}, nil},
		{[]int{100, 1, 1, 1}, nil},
		{[]int{4, 5}, []View{Matrix}},
		{[]int{4, 5, 3}, []View{Slices, Unfolded}},
		{[]int{4, 5, 3, 3}, []View{Slices, Unfolded}},
		{[]int{4, 5, 1, 1}, []View{Unfolded}},
		{[]int{4, 1, 3, 3}, []View{Unfolded}}, // one kernel for each channel
		{[]int{4, 5, 100}, nil},               // a stack of matrices
		{[]int{2, 2, 2, 2, 2, 2}, nil},
		{[]int{0, 5}, nil},
	} {
		n := 1
		for _, d := range tt.shape {
			n *= d
		}
		if got := Views(tensorOf(t, tt.shape, make([]float64, n))); !slices.Equal(got, tt.want) {
			t.Errorf("%v: views %v, want %v", tt.shape, got, tt.want)
		}
	}
}

func BenchmarkFitTail(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	values, err := singularValues(1024, 1024, gaussian(1024*1024, rng))
	if err != nil {
		b.Fatal(err)
	}
	slices.Sort(values)
	for b.Loop() {
		if _, err := fitTail(b.Context(), values, Options{}, rng); err != nil {
			b.Fatal(err)
		}
	}
}

// TestExact compares both ways of Measure on a matrix above fullLimit.
func TestExact(t *testing.T) {
	if !*long {
		t.Skip("SKIP: takes half a minute; run with -long")
	}
	const rows, cols = fullLimit + 152, fullLimit + 52
	tensor := tensorOf(t, []int{rows, cols}, gaussian(rows*cols, rand.New(rand.NewPCG(9, 9))))
	exact, err := Measure(t.Context(), tensor, Matrix, Options{Exact: true})
	if err != nil {
		t.Fatal(err)
	}
	s, err := Measure(t.Context(), tensor, Matrix, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if exact.Approximate || !s.Approximate || exact.Entropy.StdErr != 0 || s.Entropy.StdErr == 0 {
		t.Error("only the estimate has an error")
	}
	if d := math.Abs(s.Entropy.Value - exact.Entropy.Value); d > 4*s.Entropy.StdErr {
		t.Errorf("entropy %v, exactly %v", s.Entropy, exact.Entropy)
	}
	if d := math.Abs(s.SpectralNorm.Value - exact.SpectralNorm.Value); d > s.SpectralNorm.StdErr {
		t.Errorf("spectral norm %v, exactly %v", s.SpectralNorm, exact.SpectralNorm)
	}
	if !exact.Bulk.Random || !s.Bulk.Random || math.Abs(s.Bulk.Sigma/exact.Bulk.Sigma-1) > 0.005 {
		t.Errorf("bulk %+v, exactly %+v", s.Bulk, exact.Bulk)
	}
}
