package nn

import (
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// A network that has seen other batches, larger and smaller, computes what a
// fresh one does: nothing of a batch stays in the buffers. Even a batch of NaN
// leaves no trace.
func TestBuffersForget(t *testing.T) {
	cases := maps.Clone(layerCases)
	maps.Copy(cases, sequenceCases)
	names := slices.Sorted(maps.Keys(cases))
	rapid.Check(t, func(r *rapid.T) {
		name := rapid.SampledFrom(names).Draw(r, "network")
		input := []int{2, 5, 6}
		if sequenceCases[name] != "" {
			input = []int{5}
		}
		n := build[float64](t, layerSpec(t, input, cases[name], "ce"), rapid.Uint64().Draw(r, "seed"))
		for _, size := range rapid.SliceOfN(rapid.IntRange(1, 6), 2, 4).Draw(r, "batch sizes") {
			b := randomBatch(n, size, uint64(size))
			if n.vocab > 0 {
				b = randomTokens(n, size, uint64(size))
			} else if rapid.Bool().Draw(r, "poison") {
				bad := b
				bad.X = slices.Repeat([]float64{math.NaN()}, len(b.X))
				if _, err := n.Backward(bad, nil); err == nil {
					r.Fatal("a batch of NaN passes")
				}
			}
			got, want := evaluate(r, n, b), evaluate(r, n.Clone(), b)
			if !slices.Equal(got, want) {
				r.Fatalf("%s: a used network computes otherwise than a fresh one", name)
			}
		}
	})
}

// evaluate returns everything a network computes for a batch, side by side.
func evaluate(r *rapid.T, n *Network[float64], b Batch[float64]) []float64 {
	var obs Observation
	energy, err := n.Backward(b, &obs)
	if err != nil {
		r.Fatal(err)
	}
	v, hv := make([]float64, len(n.Params)), make([]float64, len(n.Params))
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range v {
		v[i] = rng.NormFloat64()
	}
	all := slices.Concat([]float64{energy}, n.Outputs(), n.Losses(), n.Grad, obs.Loss)
	for g := range n.Groups {
		all = slices.Concat(all, obs.Virial[g], obs.GradNorm2[g])
	}
	if err := n.HVP(b, v, hv); err != nil {
		r.Fatal(err)
	}
	return append(all, hv...)
}
