package nn

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/kelvin-ml/kelvin/theory"
)

// wideTheory returns the infinitely wide network of the same layers.
func wideTheory(t *testing.T, n *Network[float32], scheme string) theory.MLP {
	t.Helper()
	scales, err := n.InitScales(scheme)
	if err != nil {
		t.Fatal(err)
	}
	mlp := theory.MLP{Loss: theory.Loss(n.Spec.Loss)}
	before := theory.Activation{}
	i := 0
	for _, l := range n.Spec.Layers {
		if l.Type != "linear" {
			if before, err = theory.ActivationByName(l.Type); err != nil {
				t.Fatal(err)
			}
			continue
		}
		w := n.Groups[len(mlp.Layers)].Tensors[0]
		layer := theory.WideLayer{FanIn: w.Shape[1], FanOut: w.Shape[0], HasBias: !l.NoBias, Before: before,
			WeightVariance: scales[i].Std * scales[i].Std}
		i++
		if !l.NoBias {
			layer.BiasVariance = scales[i].Std * scales[i].Std
			i++
		}
		mlp.Layers = append(mlp.Layers, layer)
	}
	return mlp
}

// Re-initialised networks approach the wide-network recursion: the mean energy
// and heats k_l T_l at width w are within 4 standard errors of the recursion,
// give or take a finite-width correction of a few parts in w. See
// docs/theory.md#t4.
func TestApproachesWideNetwork(t *testing.T) {
	const inputs, outputs, examples = 32, 10, 4
	draws := map[int]int{64: 300, 256: 60, 1024: 8}
	if *long {
		draws = map[int]int{64: 4000, 256: 1000, 1024: 200}
	}
	for _, c := range []struct{ activation, scheme, loss string }{
		{"relu", "he", "ce"}, {"tanh", "normal(1.2,0.2)", "ce"}, {"gelu", "balanced", "mse"}, {"relu", "glorot", "mae"},
		{"tanh", "orthogonal", "ce"}, {"silu", "mixed(1.5)", "mse"}, {"elu", "pytorch", "ce"}, {"sin", "uniform(1.5,0.5)", "mse"},
	} {
		for _, width := range []int{64, 256, 1024} {
			t.Run(fmt.Sprintf("%s/%s/%s/%d", c.activation, c.scheme, c.loss, width), func(t *testing.T) {
				t.Parallel()
				n, err := New[float32](arch(t, fmt.Sprintf("%d-%d-%d-%d:%s", inputs, width, width, outputs, c.activation), c.loss))
				if err != nil {
					t.Fatal(err)
				}
				b := randomBatch(n, examples, 41)
				for i := range b.X { // signal energy 1 for every example, so that one number describes it
					b.X[i] = float32(math.Copysign(1, float64(b.X[i])))
				}
				want := wideState(t, wideTheory(t, n, c.scheme), b, outputs)
				checkWide(t, n, b, c.scheme, draws[width], want, 6/float64(width))
			})
		}
	}
}

func wideState(t *testing.T, mlp theory.MLP, b Batch[float32], outputs int) theory.WideState {
	t.Helper()
	q0 := make([]float64, b.N)
	y := make([][]float64, b.N)
	for i := range b.N {
		q0[i] = 1
		for j := range outputs {
			if b.Y != nil {
				y[i] = append(y[i], float64(b.Y[i*outputs+j]))
			}
		}
	}
	state, err := mlp.State(q0, y)
	if err != nil {
		t.Fatal(err)
	}
	return state
}

// checkWide draws networks and compares the means of the energy and of every
// layer's virial with the recursion.
func checkWide(t *testing.T, n *Network[float32], b Batch[float32], scheme string, draws int, want theory.WideState, correction float64) {
	rng := rand.New(rand.NewPCG(51, uint64(len(n.Params))))
	sums := make([][2]float64, 1+len(n.Groups))
	var obs Observation
	for range draws {
		if err := n.Init(scheme, rng); err != nil {
			t.Fatal(err)
		}
		energy, err := n.Backward(b, &obs)
		if err != nil {
			t.Fatal(err)
		}
		values := []float64{energy}
		for g := range n.Groups {
			values = append(values, total(obs.Virial[g])/float64(b.N))
		}
		for i, v := range values {
			sums[i][0] += v
			sums[i][1] += v * v
		}
	}
	for i, expected := range append([]float64{want.Energy}, want.Heat...) {
		mean := sums[i][0] / float64(draws)
		stderr := math.Sqrt((sums[i][1]/float64(draws) - mean*mean) / float64(draws-1))
		if math.Abs(mean-expected) > 4*stderr+correction*math.Abs(expected) {
			t.Errorf("quantity %d (0: energy, then the heats): %.5f ± %.5f, wide network %.5f", i, mean, stderr, expected)
		}
	}
}
