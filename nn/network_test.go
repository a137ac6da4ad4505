package nn

import (
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/kelvin-ml/kelvin/nn/internal/kernel"
	"github.com/kelvin-ml/kelvin/theory"
)

var long = flag.Bool("long", false, "run the long tests")

var testLosses = []string{"mse", "mae", "ce"}

// build makes a network with random parameters, biases included.
func build[T Float](t testing.TB, spec Spec, seed uint64) *Network[T] {
	t.Helper()
	n, err := New[T](spec)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Init("normal(1,0.3)", rand.New(rand.NewPCG(seed, 1))); err != nil {
		t.Fatal(err)
	}
	return n
}

func arch(t testing.TB, text, loss string) Spec {
	t.Helper()
	spec, err := ParseArch(text, loss)
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

// randomBatch draws inputs, and labels or targets, that fit the network.
func randomBatch[T Float](n *Network[T], examples int, seed uint64) Batch[T] {
	rng := rand.New(rand.NewPCG(seed, 2))
	b := Batch[T]{N: examples, X: make([]T, examples*n.nodes[0].size)}
	for i := range b.X {
		b.X[i] = T(rng.NormFloat64())
	}
	if n.Spec.Loss == "ce" {
		b.Labels = make([]int32, examples*n.loss.rows)
		for i := range b.Labels {
			b.Labels[i] = rng.Int32N(int32(n.loss.classes))
		}
		return b
	}
	b.Y = make([]T, examples*n.output().size)
	for i := range b.Y {
		b.Y[i] = T(rng.NormFloat64())
	}
	return b
}

// energyAt returns the energy with parameter i moved by step.
func energyAt(t testing.TB, n *Network[float64], b Batch[float64], i int, step float64) float64 {
	t.Helper()
	old := n.Params[i]
	n.Params[i] = old + step
	e, err := n.Energy(b)
	n.Params[i] = old
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// checkDerivatives compares the gradient with differences of the energy, and
// the Hessian-vector product with differences of the gradient, both by
// five-point rules of error O(h⁴).
func checkDerivatives(t *testing.T, n *Network[float64], b Batch[float64], tolerance float64) {
	t.Helper()
	const h = 1e-4
	if _, err := n.Backward(b, nil); err != nil {
		t.Fatal(err)
	}
	grad := append([]float64{}, n.Grad...)
	for i := range n.Params {
		want := (8*(energyAt(t, n, b, i, h)-energyAt(t, n, b, i, -h)) - energyAt(t, n, b, i, 2*h) + energyAt(t, n, b, i, -2*h)) / (12 * h)
		if !(math.Abs(grad[i]-want) <= tolerance*(1+math.Abs(want))) {
			t.Errorf("∂E/∂θ[%d] = %.12g, numerically %.12g", i, grad[i], want)
		}
	}
	rng := rand.New(rand.NewPCG(5, 6))
	v, u := make([]float64, len(n.Params)), make([]float64, len(n.Params))
	for i := range v {
		v[i], u[i] = rng.NormFloat64(), rng.NormFloat64()
	}
	length := math.Sqrt(kernel.SumSquares(v))
	for i := range v {
		v[i] /= length
	}
	hv, hu, want := make([]float64, len(v)), make([]float64, len(v)), make([]float64, len(v))
	for _, x := range []struct{ in, out []float64 }{{v, hv}, {u, hu}} {
		if err := n.HVP(b, x.in, x.out); err != nil {
			t.Fatal(err)
		}
	}
	base := append([]float64{}, n.Params...)
	for _, point := range []struct{ at, weight float64 }{{h, 8}, {-h, -8}, {2 * h, -1}, {-2 * h, 1}} {
		for i := range base {
			n.Params[i] = base[i] + point.at*v[i]
		}
		if _, err := n.Backward(b, nil); err != nil {
			t.Fatal(err)
		}
		for i, g := range n.Grad {
			want[i] += point.weight * g / (12 * h)
		}
	}
	copy(n.Params, base)
	left, right, scale := 0.0, 0.0, 0.0
	for i := range hv {
		if !(math.Abs(hv[i]-want[i]) <= tolerance*(1+math.Abs(want[i]))) {
			t.Errorf("Hv[%d] = %.12g, numerically %.12g", i, hv[i], want[i])
		}
		left += u[i] * hv[i]
		right += v[i] * hu[i]
		scale += math.Abs(u[i] * hv[i])
	}
	if math.Abs(left-right) > 1e-12*(1+scale) {
		t.Errorf("the Hessian is not symmetric: u·Hv = %.15g, v·Hu = %.15g", left, right)
	}
}

// checkObservation compares one backward pass over the batch with a backward
// pass for each example alone.
func checkObservation(t *testing.T, n *Network[float64], b Batch[float64]) {
	t.Helper()
	var obs Observation
	if _, err := n.Backward(b, &obs); err != nil {
		t.Fatal(err)
	}
	single := n.Clone()
	single.Spec.WeightDecay = 0
	for i := range b.N {
		one := Batch[float64]{N: 1, X: b.X[i*len(b.X)/b.N : (i+1)*len(b.X)/b.N]}
		one.Labels = b.Labels[i*len(b.Labels)/b.N : (i+1)*len(b.Labels)/b.N]
		one.Y = b.Y[i*len(b.Y)/b.N : (i+1)*len(b.Y)/b.N]
		energy, err := single.Backward(one, nil)
		if err != nil {
			t.Fatal(err)
		}
		closeTo(t, fmt.Sprintf("loss of example %d", i), obs.Loss[i], energy, 1e-12)
		for g, group := range n.Groups {
			virial, norm := 0.0, 0.0
			for j := group.Offset; j < group.Offset+group.Size; j++ {
				virial += single.Params[j] * single.Grad[j]
				norm += single.Grad[j] * single.Grad[j]
			}
			closeTo(t, fmt.Sprintf("virial of group %s, example %d", group.Name, i), obs.Virial[g][i], virial, 1e-10)
			closeTo(t, fmt.Sprintf("gradient norm of group %s, example %d", group.Name, i), obs.GradNorm2[g][i], norm, 1e-10)
		}
	}
}

// closeTo fails unless |got − want| ≤ tolerance·(1 + |want|).
func closeTo(t testing.TB, what string, got, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tolerance*(1+math.Abs(want))) {
		t.Errorf("%s = %.15g, want %.15g", what, got, want)
	}
}

func TestDerivatives(t *testing.T) {
	for _, a := range append([]string{"leaky_relu(0.2)", "elu(0.7)"}, activationNames...) {
		for _, loss := range testLosses {
			t.Run(a+"/"+loss, func(t *testing.T) {
				spec := arch(t, "5-4-6-3:"+a, loss)
				spec.WeightDecay = 0.05
				n := build[float64](t, spec, 11)
				b := randomBatch(n, 7, 12)
				checkDerivatives(t, n, b, 1e-8)
				checkObservation(t, n, b)
			})
		}
	}
}

func TestActivationsAgreeWithTheory(t *testing.T) {
	known := map[string]bool{"gelu_tanh": true} // which the tables of theory leave out
	for _, a := range theory.Activations() {
		known[a.Name] = true
	}
	for _, name := range append([]string{"leaky_relu(0.2)", "elu(0.7)"}, activationNames...) {
		ours, err := activationByName(name)
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := theory.ActivationByName(name)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(name, "(") && !known[name] {
			t.Errorf("theory does not list %s", name)
		}
		for z := -40.0; z <= 40; z += 0.125 {
			closeTo(t, fmt.Sprintf("%s(%g)", name, z), ours.value(z), theirs.Value(z), 1e-14)
			closeTo(t, fmt.Sprintf("%s'(%g)", name, z), ours.slope(z), theirs.Derivative(z), 1e-14)
			if name == "softsign" && z == 0 || math.Abs(z) < 1e-3 {
				continue // kinks of the derivative
			}
			const h = 1e-4
			bend := (ours.slope(z+h) - ours.slope(z-h)) / (2 * h)
			if z != -1 && z != 1 && z != 6 { // kinks of hardtanh and relu6
				closeTo(t, fmt.Sprintf("%s''(%g)", name, z), ours.bend(z), bend, 1e-7)
			}
		}
	}
	if len(known) != len(activationNames) {
		t.Errorf("theory knows %d activations, nn %d", len(known), len(activationNames))
	}
}

// A single linear layer has closed forms: E = |XW − Y|²/(NK), H = 2XᵀX/(NK).
func TestLinearClosedForm(t *testing.T) {
	n := build[float64](t, arch(t, "3-1", "mse"), 3)
	b := randomBatch(n, 9, 4)
	energy, grad := 0.0, make([]float64, 4)
	hessian := make([]float64, 16)
	for i := range b.N {
		x := append(append([]float64{}, b.X[3*i:3*i+3]...), 1)
		e := -b.Y[i]
		for j, v := range x {
			e += n.Params[j] * v
		}
		energy += e * e / 9
		for j, v := range x {
			grad[j] += 2 * e * v / 9
			for k, u := range x {
				hessian[4*j+k] += 2 * u * v / 9
			}
		}
	}
	got, err := n.Backward(b, nil)
	if err != nil {
		t.Fatal(err)
	}
	closeTo(t, "energy", got, energy, 1e-14)
	hv := make([]float64, 4)
	for j := range 4 {
		closeTo(t, "gradient", n.Grad[j], grad[j], 1e-14)
		v := make([]float64, 4)
		v[j] = 1
		if err := n.HVP(b, v, hv); err != nil {
			t.Fatal(err)
		}
		for k := range hv {
			closeTo(t, "Hessian", hv[k], hessian[4*j+k], 1e-14)
		}
	}
}

// In a bias-free ReLU network every layer is homogeneous of degree 1, so
// θ_l·∇_l loss is the same for every layer, exactly, for every example: both
// equal Σ_k z_k ∂loss/∂z_k of the outputs. See docs/theory.md#t2.
func TestVirialConservation(t *testing.T) {
	for _, loss := range testLosses {
		n := build[float64](t, arch(t, "6-9-8-7-4:relu:nobias", loss), 21)
		rng := rand.New(rand.NewPCG(22, 0))
		var obs Observation
		for draw := range 20 {
			if err := n.Init("he", rng); err != nil {
				t.Fatal(err)
			}
			b := randomBatch(n, 16, uint64(draw))
			if _, err := n.Backward(b, &obs); err != nil {
				t.Fatal(err)
			}
			for g := range n.Groups {
				sum := 0.0
				for i := range b.N {
					closeTo(t, "virial of "+n.Groups[g].Name, obs.Virial[g][i], obs.Virial[0][i], 1e-12)
					sum += obs.Virial[g][i] / float64(b.N)
				}
				virial := 0.0
				for j := n.Groups[g].Offset; j < n.Groups[g].Offset+n.Groups[g].Size; j++ {
					virial += n.Params[j] * n.Grad[j]
				}
				closeTo(t, "mean virial of "+n.Groups[g].Name, sum, virial, 1e-12)
			}
		}
	}
}

func TestClone(t *testing.T) {
	n := build[float32](t, arch(t, "4-5-3:tanh", "ce"), 1)
	c := n.Clone()
	b := randomBatch(n, 4, 2)
	want, _ := n.Energy(b)
	got, err := c.Energy(b)
	if err != nil || got != want {
		t.Errorf("clone: energy %v (%v), want %v", got, err, want)
	}
	c.Params[0]++
	if n.Params[0] == c.Params[0] {
		t.Error("the clone shares its parameters")
	}
}

func TestSignals(t *testing.T) {
	n := build[float64](t, arch(t, "4-5-6-3:tanh", "ce"), 1)
	b := randomBatch(n, 8, 2)
	if _, err := n.Energy(b); err != nil {
		t.Fatal(err)
	}
	var seen []string
	for s := range n.Signals {
		seen = append(seen, s.Name+" "+s.Group+" "+s.Activation+fmt.Sprint(" ", s.Rows, "×", s.Units))
		for i, z := range s.Z {
			closeTo(t, "signal", s.A[i], math.Tanh(z), 1e-15)
		}
	}
	if got, want := strings.Join(seen, "; "), "1 0 tanh 8×5; 3 2 tanh 8×6"; got != want {
		t.Errorf("signals %q, want %q", got, want)
	}
}

func TestSteadyStateDoesNotAllocate(t *testing.T) {
	for _, activation := range []string{"relu", "gelu", "sin"} {
		checkAllocations(t, build[float32](t, arch(t, "20-30-10:"+activation, "ce"), 1))
	}
}

func checkAllocations(t *testing.T, n *Network[float32]) {
	opt, err := NewOptimizer[float32](OptimizerSpec{Kind: "adamw", LearningRate: 1e-3, WeightDecay: 0.1}, len(n.Params))
	if err != nil {
		t.Fatal(err)
	}
	opt.KeepUpdate = true
	large, small := randomBatch(n, 16, 2), randomBatch(n, 5, 3)
	var obs Observation
	v, hv := make([]float32, len(n.Params)), make([]float32, len(n.Params))
	step := func() {
		for _, b := range []Batch[float32]{large, small} {
			if _, err := n.Backward(b, &obs); err != nil {
				t.Fatal(err)
			}
			opt.Step(n.Params, n.Grad)
			if err := n.HVP(b, v, hv); err != nil {
				t.Fatal(err)
			}
			for range n.Signals {
			}
		}
	}
	step()
	if allocations := testing.AllocsPerRun(10, step); allocations != 0 {
		t.Errorf("%v allocations a step, want none", allocations)
	}
}

func TestBadBatch(t *testing.T) {
	ce := build[float64](t, arch(t, "2-3-3:relu", "ce"), 1)
	mse := build[float64](t, arch(t, "2-3-3:relu", "mse"), 1)
	nan := math.NaN()
	for _, c := range []struct {
		network *Network[float64]
		batch   Batch[float64]
		want    string
	}{
		{ce, Batch[float64]{}, "at least one example"},
		{ce, Batch[float64]{N: 2, X: make([]float64, 3), Labels: make([]int32, 2)}, "expected 2 examples × 2 values"},
		{ce, Batch[float64]{N: 1, X: make([]float64, 2)}, "expected 1 labels, got 0"},
		{ce, Batch[float64]{N: 1, X: make([]float64, 2), Labels: []int32{3}}, "label 3 of example 0 is out of range: the network has 3 classes"},
		{ce, Batch[float64]{N: 1, X: make([]float64, 2), Labels: []int32{-1}}, "label -1"},
		{mse, Batch[float64]{N: 1, X: make([]float64, 2), Labels: []int32{1}}, "expected 1 examples × 3 targets"},
		{mse, Batch[float64]{N: 1, X: []float64{1, nan}, Y: make([]float64, 3)}, "the input of example 0 holds NaN"},
		{mse, Batch[float64]{N: 1, X: []float64{1, 1}, Y: []float64{1, 1, math.Inf(1)}}, "the target of example 0 is +Inf"},
		{mse, Batch[float64]{N: 1, X: []float64{1e308, 1e308}, Y: make([]float64, 3)}, "loss overflows"},
	} {
		if _, err := c.network.Backward(c.batch, nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want one saying %q", err, c.want)
		}
	}
	mse.Params[0] = nan
	if _, err := mse.Energy(randomBatch(mse, 2, 1)); err == nil || !strings.Contains(err.Error(), `"0.weight" holds NaN`) {
		t.Errorf("error %v, want one naming the tensor", err)
	}
	if err := ce.HVP(randomBatch(ce, 2, 1), make([]float64, 3), make([]float64, 3)); err == nil {
		t.Error("a direction of the wrong length is accepted")
	}
}
