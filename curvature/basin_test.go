package curvature

import (
	"context"
	"math"
	"slices"
	"testing"

	"github.com/kelvin-ml/kelvin/thermo"
	"gonum.org/v1/gonum/mat"
)

// TestPopulationTopCoverage draws linear regressions whose population has known
// eigenvalues. The largest of a sample is too high on average; the estimate is not.
func TestPopulationTopCoverage(t *testing.T) {
	const seeds = 200
	n := network(t, "12-1:identity:nobias", "mse", 0, 1)
	covered := 0
	var corrected, plain moments
	for seed := range uint64(seeds) {
		batches := examples(n, seed, slices.Repeat([]int{8}, 25)...)
		for _, b := range batches {
			for i := range b.X {
				if i%12 == 0 {
					b.X[i] *= math.Sqrt2
				}
			}
		}
		op := operator(t, n, batches, Hessian)
		k, err := Lanczos(context.Background(), op, Layers(n), LanczosOptions{Steps: 10, Top: 1, Population: true, Seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		top, err := k.PopulationTop(op, 1)
		if err != nil {
			t.Fatal(err)
		}
		low, high := top[0].Interval(0.95)
		if low <= 4 && 4 <= high { // 2⟨x₀²⟩
			covered++
		}
		corrected.add(top[0].Value)
		plain.add(k.Top(1)[0].Value)
	}
	spread := math.Sqrt(plain.squares) / seeds
	t.Logf("covered %d of %d; mean %.3f, without the correction %.3f, ± %.3f", covered, seeds, corrected.mean, plain.mean, spread)
	near(t, "mean of the estimates", corrected.mean, 4, 3*spread)
	if plain.mean < 4+3*spread {
		t.Errorf("the sample's eigenvalue is %g on average, expected it too high", plain.mean)
	}
	if covered < 180 || covered > 198 {
		t.Errorf("the 95 %% interval held the population's eigenvalue %d times of %d", covered, seeds)
	}
}

// TestBasinCoverage compares widths and coexistence temperatures with those of
// full spectra.
func TestBasinCoverage(t *testing.T) {
	const seeds, n, regulariser = 200, 60, 0.1
	ctx := context.Background()
	var ops [2]dense
	var exact, flat [2]float64
	for i := range ops {
		values := semicircle(n)
		for j := range values {
			values[j] = regulariser + math.Abs(values[j])*(1+2*float64(i))
			exact[i] -= math.Log(values[j]) / 2
			if values[j] < 2*regulariser {
				flat[i]++
			}
		}
		ops[i] = dense{[]*mat.SymDense{withEigenvalues(values, uint64(10+i))}}
	}
	energy := thermo.Reading{Value: -2}
	coexistence := energy.Value / (exact[1] - exact[0])
	covered, coexisting := 0, 0
	for seed := range uint64(seeds) {
		var basins [2]Basin
		for i, op := range ops {
			k, err := Lanczos(ctx, op, whole(n), LanczosOptions{Steps: 20, Top: 3, Tolerance: 1e-4, Seed: seed})
			if err != nil {
				t.Fatal(err)
			}
			q, err := NewQuadrature(ctx, op, k, QuadratureOptions{Probes: 8, Steps: 30, Seed: seed})
			if err != nil {
				t.Fatal(err)
			}
			if basins[i], err = NewBasin(q, thermo.Reading{}, regulariser); err != nil {
				t.Fatal(err)
			}
			near(t, "flat directions", basins[i].Flat.Value, flat[i], 10*basins[i].Flat.StdErr)
			if basins[i].Negative.Value > 1e-9 {
				t.Errorf("%v falling directions in a bowl", basins[i].Negative)
			}
		}
		if low, high := basins[0].Width.Interval(0.95); low <= exact[0] && exact[0] <= high {
			covered++
		}
		c, err := Compare(basins[0], basins[1], energy)
		if err != nil {
			t.Fatal(err)
		}
		if low, high := c.Coexistence.Interval(0.95); low <= coexistence && coexistence <= high {
			coexisting++
		}
		if !c.Coexistence.Valid() {
			t.Error(c.Coexistence)
		}
	}
	t.Logf("width covered %d, coexistence %d of %d", covered, coexisting, seeds)
	for _, count := range []int{covered, coexisting} {
		if count < 180 || count > 198 {
			t.Errorf("an interval of 95 %% held the truth %d times of %d", count, seeds)
		}
	}
}

// TestTwoWells: of two wells with all known, the lower wins below the
// coexistence temperature and the wider above.
func TestTwoWells(t *testing.T) {
	well := func(energy float64, values ...float64) Basin {
		op := dense{[]*mat.SymDense{withEigenvalues(values, 1)}}
		k, err := Lanczos(context.Background(), op, whole(len(values)), LanczosOptions{Steps: 10})
		if err != nil {
			t.Fatal(err)
		}
		q, err := NewQuadrature(context.Background(), op, k, QuadratureOptions{Probes: 2, Steps: 4})
		if err != nil {
			t.Fatal(err)
		}
		b, err := NewBasin(q, thermo.Reading{Value: energy}, 0.01)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	narrow, wide := well(1, 4, 9, 16), well(2, 0.01, 1, 4)
	c, err := Compare(narrow, wide, thermo.Reading{Value: 1})
	if err != nil {
		t.Fatal(err)
	}
	want := 1 / (0.5 * math.Log(4*9*16/0.04))
	near(t, "coexistence temperature", c.Coexistence.Value, want, 1e-9)
	near(t, "flat directions", wide.Flat.Value, 1, 0)
	for _, side := range []struct {
		temperature float64
		winner      string
	}{{0.9 * want, "a"}, {1.1 * want, "b"}} {
		difference, winner := c.FreeEnergy(side.temperature)
		_, a := narrow.At(side.temperature)
		_, b := wide.At(side.temperature)
		near(t, "difference of free energies", difference.Value, b.Value-a.Value, 1e-9)
		if winner != side.winner {
			t.Errorf("at %g %s wins, expected %s", side.temperature, winner, side.winner)
		}
	}
	// Gaussian integral: e^{−F/T} = ∫ e^{−E/T}.
	_, free := narrow.At(0.3)
	near(t, "free energy", free.Value, 1-0.3*1.5*math.Log(2*math.Pi*0.3)+0.3/2*math.Log(4*9*16), 1e-9)
	if _, err := NewBasin(narrow.quadrature, thermo.Reading{}, 0); err == nil {
		t.Error("a basin without a regulariser was accepted")
	}
}

// TestLine: the loss of a linear network is a parabola on every line, with its
// top at an end; a network and its mirror image have a barrier between them.
func TestLine(t *testing.T) {
	a := network(t, "3-1:identity", "mse", 0, 1)
	b := network(t, "3-1:identity", "mse", 0, 2)
	batches := examples(a, 3, 20, 20)
	p, err := Line(context.Background(), a, b, batches, 5)
	if err != nil {
		t.Fatal(err)
	}
	for i, step := 0, p.Points; i < 2; i++ {
		third := step[i+3].Energy - 3*step[i+2].Energy + 3*step[i+1].Energy - step[i].Energy
		near(t, "third difference", third, 0, 1e-12)
	}
	if p.Barrier.Value != 0 {
		t.Errorf("barrier %v in a parabola", p.Barrier)
	}
	a, b = network(t, "1-1-1:tanh:nobias", "mse", 0, 1), network(t, "1-1-1:tanh:nobias", "mse", 0, 1)
	for i := range b.Params {
		a.Params[i], b.Params[i] = 1, -1
	}
	batches = examples(a, 1, 50)
	for i, x := range batches[0].X {
		batches[0].Y[i] = math.Tanh(x)
	}
	if p, err = Line(context.Background(), a, b, batches, 10); err != nil {
		t.Fatal(err)
	}
	square := 0.0
	for _, y := range batches[0].Y {
		square += y * y / 50
	}
	near(t, "place of the top", p.Place, 0.5, 1e-3)
	near(t, "barrier", p.Barrier.Value, square, 1e-3)
	if !(p.Barrier.StdErr > 0) {
		t.Error("a barrier without an error")
	}
}

// TestLook compares gradients and their noise with those of single examples.
func TestLook(t *testing.T) {
	n := network(t, "3-4-2:tanh", "ce", 0.1, 1)
	batches := examples(n, 2, 7, 5)
	s, err := Look(n, batches)
	if err != nil {
		t.Fatal(err)
	}
	k := len(n.Params)
	total, squares := make([]float64, k), make([]float64, k)
	one := batches[0]
	for _, b := range batches {
		for i := range b.N {
			one.N, one.X, one.Labels = 1, b.X[3*i:3*i+3], b.Labels[i:i+1]
			if _, err := n.Backward(one, nil); err != nil {
				t.Fatal(err)
			}
			for j, g := range n.Grad {
				total[j] += g / 12
				squares[j] += g * g / 12
			}
		}
	}
	noise := 0.0
	for j := range total {
		noise += (squares[j] - total[j]*total[j]) * 12 / 11
	}
	near(t, "noise", pick(s.Noise, -1), noise, 1e-12)
	near(t, "squared gradient", pick(s.GradientNorm2, -1), dot(total, total), 1e-12)
	temperature, err := s.NoiseTemperature(0.1, 0.9, 16, k)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "noise temperature", temperature.Value, 0.1*noise/(2*16*float64(k)*0.1), 1e-12)
}
