package calibration

import (
	"context"
	"iter"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/kelvin-ml/kelvin/thermo"
)

// rows is a matrix in memory.
type rows [][]float64

func (r rows) All() iter.Seq2[[]float64, error] {
	return func(yield func([]float64, error) bool) {
		for _, row := range r {
			if !yield(row, nil) {
				return
			}
		}
	}
}

// sampled draws logits of a spread, and labels from softmax(z/T) among those that
// keep allows.
func sampled(seed uint64, n, classes int, spread, t float64, keep func(p []float64, order []int32) int) (rows, []int32) {
	r := rand.New(rand.NewPCG(seed, 9))
	z, labels := make(rows, n), make([]int32, n)
	for i := range z {
		z[i] = make([]float64, classes)
		for j := range z[i] {
			z[i][j] = spread * r.NormFloat64()
		}
		p := softmax(z[i], t)
		order := new(profile).order(0, z[i])
		m := classes
		if keep != nil {
			m = keep(p, order)
		}
		total := 0.0
		for _, j := range order[:m] {
			total += p[j]
		}
		u := r.Float64() * total
		for _, j := range order[:m] {
			labels[i] = int32(j)
			if u -= p[j]; u <= 0 {
				break
			}
		}
	}
	return z, labels
}

func softmax(z []float64, t float64) []float64 {
	p := make([]float64, len(z))
	sum := 0.0
	for j := range z {
		p[j] = math.Exp(z[j] / t)
		sum += p[j]
	}
	for j := range p {
		p[j] /= sum
	}
	return p
}

func near(t *testing.T, what string, r thermo.Reading, want float64) {
	t.Helper()
	if !r.Valid() || math.Abs(r.Value-want) > 4*r.StdErr || r.StdErr <= 0 {
		t.Errorf("%s: %v (%s), expected %g", what, r, r.Invalid, want)
	}
}

func TestCalibrate(t *testing.T) {
	const temperature = 1.7
	z, labels := sampled(1, 20_000, 10, 2, temperature, nil)
	c, err := Calibrate(t.Context(), z, labels, Options{Seed: 1, Folds: 5, VectorLimit: 50_000})
	if err != nil {
		t.Fatal(err)
	}
	near(t, "temperature", c.Temperature, temperature)
	if !(c.Low < c.Temperature.Value && c.Temperature.Value < c.High) || math.Abs((c.High-c.Low)/(4*1.96/2*c.Temperature.StdErr)-1) > 0.05 {
		t.Errorf("interval %g to %g about %v", c.Low, c.High, c.Temperature)
	}
	// What the same thermometer says of all draws at once.
	direct, err := thermo.MaximumLikelihood(func(yield func([]float64, int) bool) {
		e := make([]float64, 10)
		for i := range z {
			for j := range e {
				e[j] = -z[i][j]
			}
			if !yield(e, int(labels[i])) {
				return
			}
		}
	}, 0)
	if err != nil || math.Abs(direct.Value/c.Temperature.Value-1) > 1e-5 || math.Abs(direct.StdErr/c.Temperature.StdErr-1) > 1e-4 {
		t.Errorf("%v, directly %v, %v", c.Temperature, direct, err)
	}
	for _, r := range c.PerClass {
		near(t, "class "+r.Group, r, temperature)
	}
	// The entropy of the labels given the logits is the best that can be.
	entropy := 0.0
	for i := range z {
		for _, p := range softmax(z[i], temperature) {
			entropy -= p * math.Log(p) / float64(len(z))
		}
	}
	near(t, "nll after", c.After.NLL, entropy)
	if c.Before.NLL.Value < c.After.NLL.Value+0.05 {
		t.Errorf("nll %v before, %v after", c.Before.NLL, c.After.NLL)
	}
	// Of bins that are right in the mean, |gap| has mean √(2/π) σ.
	if c.Before.ECE.Value < 0.1 || c.After.ECE.Value > 0.015 || c.Before.ECE.StdErr <= 0 {
		t.Errorf("ece %v before, %v after", c.Before.ECE, c.After.ECE)
	}
	near(t, "held out", c.HeldOut, entropy)
	// Twenty parameters fitted to 4,000 examples cost some 20/2/4000 nats.
	near(t, "held out, vector scaling", c.HeldOutVector, entropy+0.0025)
	if c.VectorExamples != 5000 {
		t.Errorf("vector scaling took %d examples", c.VectorExamples)
	}
}

// TestVector gives classes weights and biases of their own, which temperature
// scaling cannot mend.
func TestVector(t *testing.T) {
	z, labels := sampled(2, 5000, 4, 2, 1, nil)
	for i := range z {
		for j := range z[i] {
			z[i][j] = z[i][j]*float64(j+1) + 3*float64(j%2)
		}
	}
	c, err := Calibrate(t.Context(), z, labels, Options{Seed: 1, Folds: 5, VectorLimit: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	if c.HeldOutVector.Value > c.HeldOut.Value-0.1 {
		t.Errorf("vector scaling %v, temperature scaling %v", c.HeldOutVector, c.HeldOut)
	}
}

// TestCoverage counts how often the profile interval holds the truth.
func TestCoverage(t *testing.T) {
	inside := 0
	const repeats = 400
	for seed := range uint64(repeats) {
		z, labels := sampled(100+seed, 60, 5, 1.5, 0.8, nil)
		c, err := Calibrate(t.Context(), z, labels, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if c.Low < 0.8 && 0.8 < c.High {
			inside++
		}
	}
	if share := float64(inside) / repeats; share < 0.92 || share > 0.98 {
		t.Errorf("the 95 %% interval holds the temperature in %.3f of %d repeats", share, repeats)
	}
}

func TestCalibrateRefuses(t *testing.T) {
	inf := math.Inf(1)
	for want, c := range map[string]struct {
		z      rows
		labels []int32
	}{
		"row 1: logit 0 is NaN":               {rows{{1, 2}, {math.NaN(), 1}}, []int32{0, 1}},
		"row 0: logit 1 is +Inf":              {rows{{1, inf}}, []int32{0}},
		"row 0: every logit is -Inf":          {rows{{-inf, -inf}}, []int32{0}},
		"row 0: the logit of label 1 is -Inf": {rows{{0, -inf, 1}}, []int32{1}},
		"row 0: label 2 is out of range":      {rows{{1, 2}}, []int32{2}},
		"row 0: label -1 is out of range":     {rows{{1, 2}}, []int32{-1}},
		"got more than 1":                     {rows{{1, 2}, {1, 2}}, []int32{0}},
		"got 1 and 2":                         {rows{{1, 2}}, []int32{0, 1}},
		"expected rows of logits, got none":   {rows{}, []int32{}},
		"row 0: expected at least two logits": {rows{{1}}, []int32{0}},
	} {
		_, err := Calibrate(t.Context(), c.z, c.labels, Options{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("expected %q, got %v", want, err)
		}
	}
	// Choices that cannot be made are no choices; labels that are all right are cold.
	c, err := Calibrate(t.Context(), rows{{1, math.Inf(-1), 3}, {0, 2, 1}}, []int32{2, 1}, Options{})
	if err != nil || c.Temperature.Valid() || !strings.Contains(c.Temperature.Invalid, "zero") || c.After.NLL != c.Before.NLL {
		t.Errorf("%+v, %v", c, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Calibrate(ctx, rows{{1, 2}}, []int32{0}, Options{}); err == nil {
		t.Error("it went on")
	}
}
