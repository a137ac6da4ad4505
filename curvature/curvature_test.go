package curvature

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/kelvin-ml/kelvin/nn"
	"github.com/kelvin-ml/kelvin/thermo"
	"gonum.org/v1/gonum/mat"
)

// dense is a mean of matrices that are there in full.
type dense struct{ parts []*mat.SymDense }

func (d dense) Dim() int { return d.parts[0].SymmetricDim() }

func (d dense) Weights() []float64 {
	w := make([]float64, len(d.parts))
	for i := range w {
		w[i] = 1 / float64(len(w))
	}
	return w
}

func (d dense) ApplyPart(part int, v, out []float64) error {
	mat.NewVecDense(len(out), out).MulVec(d.parts[part], mat.NewVecDense(len(v), v))
	return nil
}

func (d dense) Apply(v, out []float64) error {
	sum := make([]float64, len(out))
	for c, w := range d.Weights() {
		if err := d.ApplyPart(c, v, out); err != nil {
			return err
		}
		axpy(w, out, sum)
	}
	copy(out, sum)
	return nil
}

func whole(n int) []thermo.Group { return []thermo.Group{{Name: "all", Size: n}} }

// withEigenvalues returns a random matrix of the given spectrum.
func withEigenvalues(values []float64, seed uint64) *mat.SymDense {
	n := len(values)
	random := rand.New(rand.NewPCG(seed, 99))
	a := mat.NewDense(n, n, nil)
	for i := range n {
		for j := range n {
			a.Set(i, j, random.NormFloat64())
		}
	}
	var qr mat.QR
	qr.Factorize(a)
	var q mat.Dense
	qr.QTo(&q)
	s := mat.NewSymDense(n, nil)
	for k, v := range values {
		s.SymRankOne(s, v, q.ColView(k))
	}
	return s
}

func eigenvalues(t testing.TB, s mat.Symmetric) []float64 {
	t.Helper()
	var e mat.EigenSym
	if !e.Factorize(s, false) {
		t.Fatal("no eigenvalues")
	}
	return e.Values(nil)
}

func network(t testing.TB, arch, loss string, decay float64, seed uint64) *nn.Network[float64] {
	t.Helper()
	spec, err := nn.ParseArch(arch, loss)
	if err != nil {
		t.Fatal(err)
	}
	spec.WeightDecay = decay
	n, err := nn.New[float64](spec)
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(seed, 7))
	for i := range n.Params {
		n.Params[i] = 0.5 * random.NormFloat64()
	}
	return n
}

// examples draws batches of examples with random inputs and answers.
func examples(n *nn.Network[float64], seed uint64, sizes ...int) []nn.Batch[float64] {
	random := rand.New(rand.NewPCG(seed, 8))
	outputs := n.OutputShape()[0]
	var batches []nn.Batch[float64]
	for _, size := range sizes {
		b := nn.Batch[float64]{N: size}
		for range size {
			for range n.Spec.Input[0] {
				b.X = append(b.X, random.NormFloat64())
			}
			b.Labels = append(b.Labels, int32(random.IntN(outputs)))
			for range outputs {
				b.Y = append(b.Y, random.NormFloat64())
			}
		}
		batches = append(batches, b)
	}
	return batches
}

// denseHessian differentiates the gradient numerically.
func denseHessian(t testing.TB, n *nn.Network[float64], batches []nn.Batch[float64]) *mat.SymDense {
	t.Helper()
	const step = 1e-5
	h := mat.NewDense(len(n.Params), len(n.Params), nil)
	total := 0
	for _, b := range batches {
		total += b.N
	}
	for i := range n.Params {
		centre := n.Params[i]
		for _, sign := range []float64{1, -1} {
			n.Params[i] = centre + sign*step
			for _, b := range batches {
				if _, err := n.Backward(b, nil); err != nil {
					t.Fatal(err)
				}
				for j, g := range n.Grad {
					h.Set(i, j, h.At(i, j)+sign*g*float64(b.N)/float64(total)/(2*step))
				}
			}
		}
		n.Params[i] = centre
	}
	s := mat.NewSymDense(len(n.Params), nil)
	for i := range n.Params {
		for j := range i + 1 {
			s.SetSym(i, j, (h.At(i, j)+h.At(j, i))/2)
		}
	}
	return s
}

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tolerance) {
		t.Errorf("%s is %.10g, expected %.10g ± %.2g", what, got, want, tolerance)
	}
}

func operator(t testing.TB, n *nn.Network[float64], batches []nn.Batch[float64], kind Kind) Parted {
	t.Helper()
	op, err := NewOperator(n, batches, kind)
	if err != nil {
		t.Fatal(err)
	}
	return op
}

// TestSmallNetworks compares traces and extreme eigenvalues with those of dense
// Hessians from differences of gradients.
func TestSmallNetworks(t *testing.T) {
	ctx := context.Background()
	for _, c := range []struct {
		arch, loss string
		decay      float64
	}{{"3-5-2:tanh", "mse", 0}, {"4-6-3:relu", "ce", 0.01}, {"4-5-4-3:gelu", "ce", 0}, {"2-8-1:leaky_relu:nobias", "mse", 0.1}} {
		t.Run(c.arch+" "+c.loss, func(t *testing.T) {
			n := network(t, c.arch, c.loss, c.decay, 1)
			batches := examples(n, 2, 9, 13)
			h := denseHessian(t, n, batches)
			values := eigenvalues(t, h)
			k, err := Lanczos(ctx, operator(t, n, batches, Hessian), Layers(n), LanczosOptions{Top: 3, Bottom: 3, Steps: 1000, Tolerance: 0})
			if err != nil {
				t.Fatal(err)
			}
			last := len(values) - 1
			for i, e := range k.Top(3) {
				near(t, "top", e.Value, values[last-i], 1e-7)
				near(t, "its residual", e.Residual, 0, 1e-7)
			}
			for i, e := range k.Bottom(3) {
				if c.loss == "mse" && c.decay == 0 || i == 0 {
					near(t, "bottom", e.Value, values[i], 1e-7)
				}
			}
			trace, err := Trace(ctx, operator(t, n, batches, Hessian), Layers(n), k, TraceOptions{Tolerance: 1e-3, Probes: 100})
			if err != nil {
				t.Fatal(err)
			}
			near(t, "trace", trace.Whole.Value, mat.Trace(h), 1e-7+4*trace.Whole.StdErr)
			checkLayers(t, "estimated", n, trace, h, 4)
			if passes, _ := ExactTraceCost(n.Spec, n.OutputShape(), Hessian); passes > 0 {
				exact, err := ExactTrace(n, batches, Hessian, false)
				if err != nil {
					t.Fatal(err)
				}
				near(t, "exact trace", exact.Whole.Value, mat.Trace(h), 1e-7)
				checkLayers(t, "exact", n, exact, h, 0)
			}
		})
	}
}

func checkLayers(t *testing.T, what string, n *nn.Network[float64], got TraceResult, h *mat.SymDense, errors float64) {
	t.Helper()
	for g, group := range n.Groups {
		want := 0.0
		for i := group.Offset; i < group.Offset+group.Size; i++ {
			want += h.At(i, i)
		}
		near(t, what+" trace of layer "+group.Name, got.Layers[g].Value, want, 1e-7+errors*got.Layers[g].StdErr)
	}
}

// TestExactGaussNewton compares the exact trace of the Gauss-Newton matrix, also
// of networks whose Hessian has another, with its diagonal.
func TestExactGaussNewton(t *testing.T) {
	for _, c := range []struct{ arch, loss string }{{"3-5-2:tanh", "mse"}, {"4-6-3:gelu", "ce"}, {"4-6-3:relu", "mae"}} {
		n := network(t, c.arch, c.loss, 0.02, 3)
		batches := examples(n, 4, 11, 6)
		op := operator(t, n, batches, GaussNewton)
		want := 0.0
		e, product := make([]float64, op.Dim()), make([]float64, op.Dim())
		for i := range e {
			e[i] = 1
			if err := op.Apply(e, product); err != nil {
				t.Fatal(err)
			}
			want += product[i]
			e[i] = 0
		}
		got, err := ExactTrace(n, batches, GaussNewton, false)
		if err != nil {
			t.Fatal(err)
		}
		near(t, c.arch+" "+c.loss, got.Whole.Value, want, 1e-10)
	}
	n := network(t, "4-6-3:gelu", "ce", 0, 1)
	if _, err := ExactTrace(n, examples(n, 1, 5), Hessian, false); err == nil {
		t.Error("the Hessian of gelu was taken for its Gauss-Newton matrix")
	}
}

// TestClosedForms: for linear regression H = (2/K) I ⊗ ⟨xxᵀ⟩, for softmax
// regression ⟨(diag(p) − ppᵀ) ⊗ xxᵀ⟩, of which two classes are the logistic case.
func TestClosedForms(t *testing.T) {
	for _, c := range []struct{ arch, loss string }{{"5-1", "mse"}, {"4-3", "mse"}, {"6-2", "ce"}, {"5-4", "ce"}} {
		n := network(t, c.arch+":identity:nobias", c.loss, 0, 5)
		b := examples(n, 6, 40)[0]
		in, out := n.Spec.Input[0], n.OutputShape()[0]
		h := mat.NewSymDense(in*out, nil)
		if _, err := n.Energy(b); err != nil {
			t.Fatal(err)
		}
		p := make([]float64, b.N*out)
		softmax(n.Outputs(), out, p)
		for i := range b.N {
			x := b.X[i*in : (i+1)*in]
			for r := range in * out {
				for s := range r + 1 {
					k, l := r/in, s/in
					var curved float64
					switch {
					case c.loss == "mse" && k == l:
						curved = 2 / float64(out)
					case c.loss == "ce":
						curved = -p[i*out+k] * p[i*out+l]
						if k == l {
							curved += p[i*out+k]
						}
					}
					h.SetSym(r, s, h.At(r, s)+curved*x[r%in]*x[s%in]/float64(b.N))
				}
			}
		}
		values := eigenvalues(t, h)
		for _, kind := range []Kind{Hessian, GaussNewton} {
			op := operator(t, n, []nn.Batch[float64]{b}, kind)
			k, err := Lanczos(context.Background(), op, Layers(n), LanczosOptions{Top: 1, Bottom: 1, Steps: 100})
			if err != nil {
				t.Fatal(err)
			}
			near(t, c.arch+" top", k.Top(1)[0].Value, values[len(values)-1], 1e-10)
			near(t, c.arch+" bottom", k.Bottom(1)[0].Value, values[0], 1e-10)
			exact, err := ExactTrace(n, []nn.Batch[float64]{b}, kind, false)
			if err != nil {
				t.Fatal(err)
			}
			near(t, c.arch+" trace", exact.Whole.Value, mat.Trace(h), 1e-10)
		}
	}
}

// decaying is a spectrum like that of a trained network: a few large
// eigenvalues, a bulk, some negative ones.
func decaying(n int) []float64 {
	values := make([]float64, n)
	for i := range values {
		values[i] = 20*math.Exp(-float64(i)/2) + 1/float64(1+i) - 0.02
	}
	return values
}

// TestTraceCoverage counts how often the interval of 95 % holds the trace.
func TestTraceCoverage(t *testing.T) {
	const seeds, n = 200, 120
	h := withEigenvalues(decaying(n), 1)
	op := dense{[]*mat.SymDense{h}}
	groups := []thermo.Group{{Name: "a", Size: 50}, {Name: "b", Size: 70}}
	layer := 0.0
	for i := range 50 {
		layer += h.At(i, i)
	}
	for _, c := range []struct {
		name      string
		steps     int
		tolerance float64
	}{{"Hutchinson", 0, 0.1}, {"Hutch++", 12, 0.005}} {
		covered, coveredLayer, products := 0, 0, 0
		for seed := range uint64(seeds) {
			var k *Krylov
			var err error
			if c.steps > 0 {
				if k, err = Lanczos(context.Background(), op, groups, LanczosOptions{Steps: c.steps, Top: 5, Seed: seed}); err != nil {
					t.Fatal(err)
				}
			}
			r, err := Trace(context.Background(), op, groups, k, TraceOptions{Tolerance: c.tolerance, Probes: 2000, Seed: seed})
			if err != nil || !r.Whole.Valid() {
				t.Fatal(err, r.Whole)
			}
			if low, high := r.Whole.Interval(0.95); low <= mat.Trace(h) && mat.Trace(h) <= high {
				covered++
			}
			if low, high := r.Layers[0].Interval(0.95); low <= layer && layer <= high {
				coveredLayer++
			}
			products += r.Products
		}
		t.Logf("%s to %g: covered %.1f %%, layer %.1f %%, %d products", c.name, c.tolerance,
			100*float64(covered)/seeds, 100*float64(coveredLayer)/seeds, products/seeds)
		for _, count := range []int{covered, coveredLayer} {
			if count < 180 || count > 198 {
				t.Errorf("%s: the 95 %% interval held the trace %d times of %d", c.name, count, seeds)
			}
		}
	}
}

// TestPopulationCoverage draws linear regressions, whose population curvature is
// known, and counts how often the interval holds its trace.
func TestPopulationCoverage(t *testing.T) {
	const seeds, in = 200, 12
	n := network(t, "12-1:identity:nobias", "mse", 0, 1)
	want := 0.0
	deviations := make([]float64, in)
	for i := range deviations {
		deviations[i] = 3 / (1 + float64(i))
		want += 2 * deviations[i] * deviations[i]
	}
	covered, coveredExact := 0, 0
	for seed := range uint64(seeds) {
		batches := examples(n, seed, slices.Repeat([]int{10}, 20)...)
		for _, b := range batches {
			for i := range b.X {
				b.X[i] *= deviations[i%in]
			}
		}
		op := operator(t, n, batches, Hessian)
		k, err := Lanczos(context.Background(), op, Layers(n), LanczosOptions{Steps: 3, Population: true, Seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		r, err := Trace(context.Background(), op, Layers(n), k, TraceOptions{Tolerance: 0.02, Probes: 200, Population: true, Seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		exact, err := ExactTrace(n, batches, Hessian, true)
		if err != nil {
			t.Fatal(err)
		}
		if low, high := r.Whole.Interval(0.95); low <= want && want <= high {
			covered++
		}
		if low, high := exact.Whole.Interval(0.95); low <= want && want <= high {
			coveredExact++
		}
	}
	t.Logf("covered %d and, exactly, %d of %d", covered, coveredExact, seeds)
	for _, count := range []int{covered, coveredExact} {
		if count < 180 || count > 198 {
			t.Errorf("the 95 %% interval held the population's trace %d times of %d", count, seeds)
		}
	}
}

func TestTraceStopsByItsOwnError(t *testing.T) {
	h := withEigenvalues(decaying(200), 3)
	op := dense{[]*mat.SymDense{h}}
	r, err := Trace(context.Background(), op, whole(200), nil, TraceOptions{Tolerance: 0.001, Probes: 20})
	if err != nil {
		t.Fatal(err)
	}
	if r.Whole.Valid() || r.Probes != 20 {
		t.Errorf("20 probes cannot reach 0.1 %%, got %v after %d", r.Whole, r.Probes)
	}
	ctx, cancel := context.WithCancel(context.Background())
	calls := 0
	_, err = Trace(ctx, op, whole(200), nil, TraceOptions{Tolerance: 1e-6, Probes: 1000, Progress: func(int, int) {
		if calls++; calls == 3 {
			cancel()
		}
	}})
	if err != context.Canceled || calls != 3 {
		t.Errorf("cancelled after three reports, got %v after %d", err, calls)
	}
}
