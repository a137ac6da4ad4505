package nn

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"gonum.org/v1/gonum/floats"
)

// TestGaussNewton compares products with JᵀSJ, whose Jacobian J comes from
// differences of the outputs.
func TestGaussNewton(t *testing.T) {
	forEachLayerCase(t, func(t *testing.T, n *Network[float64], b Batch[float64]) {
		random := rand.New(rand.NewPCG(1, 2))
		v, got := make([]float64, len(n.Params)), make([]float64, len(n.Params))
		for i := range v {
			v[i] = random.NormFloat64()
		}
		if err := n.GaussNewton(b, v, got); err != nil {
			t.Fatal(err)
		}
		const step = 1e-5
		along := outputSlope(t, n, b, func(s float64) {
			for j := range v {
				n.Params[j] += s * v[j]
			}
		}, step)
		curved := lossCurvature(n, b, along)
		for range 20 {
			i := random.IntN(len(v))
			slope := outputSlope(t, n, b, func(s float64) { n.Params[i] += s }, step)
			want := n.Spec.WeightDecay * v[i]
			for k := range slope {
				want += slope[k] * curved[k]
			}
			if diff := math.Abs(got[i] - want); !(diff <= 1e-6*(1+math.Abs(want))) {
				t.Errorf("parameter %d: product %g, by differences %g", i, got[i], want)
			}
		}
	})
	n := build[float64](t, arch(t, "3-2:relu", "mse"), 1)
	if err := n.GaussNewton(randomBatch(n, 2, 1), make([]float64, 3), make([]float64, 8)); err == nil {
		t.Error("a vector that is too short was accepted")
	}
}

// outputSlope returns the derivative of the outputs along a move of the
// parameters, which it undoes.
func outputSlope(t *testing.T, n *Network[float64], b Batch[float64], move func(float64), step float64) []float64 {
	saved := slices.Clone(n.Params)
	var ends [2][]float64
	for i, s := range []float64{step, -step} {
		move(s)
		if _, err := n.Energy(b); err != nil {
			t.Fatal(err)
		}
		ends[i] = slices.Clone(n.Outputs())
		copy(n.Params, saved)
	}
	for k := range ends[0] {
		ends[0][k] = (ends[0][k] - ends[1][k]) / (2 * step)
	}
	return ends[0]
}

// lossCurvature applies the Hessian of the mean loss by the outputs.
func lossCurvature(n *Network[float64], b Batch[float64], u []float64) []float64 {
	out := make([]float64, len(u))
	switch n.Spec.Loss {
	case "mse":
		for k := range u {
			out[k] = 2 * u[k] / float64(len(u))
		}
	case "ce":
		if _, err := n.Energy(b); err != nil {
			panic(err)
		}
		classes := n.loss.classes
		rows := len(u) / classes
		for r := range rows {
			z, ur := n.Outputs()[r*classes:(r+1)*classes], u[r*classes:(r+1)*classes]
			lse, mean := floats.LogSumExp(z), 0.0
			for c := range z {
				mean += math.Exp(z[c]-lse) * ur[c]
			}
			for c := range z {
				out[r*classes+c] = math.Exp(z[c]-lse) * (ur[c] - mean) / float64(rows)
			}
		}
	}
	return out
}
