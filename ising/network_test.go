package ising

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/kelvin-ml/kelvin/dataset"
	"github.com/kelvin-ml/kelvin/nn"
)

// digitsNetwork is a network of the embedded digits with one hidden layer,
// trained for the given number of full-batch steps.
func digitsNetwork(units, steps int) (*nn.Network[float32], nn.Batch[float32], error) {
	set, err := dataset.Make("digits", dataset.Options{})
	if err != nil {
		return nil, nn.Batch[float32]{}, err
	}
	spec, err := nn.ParseArch(fmt.Sprintf("64-%d-10:tanh", units), "ce")
	if err != nil {
		return nil, nn.Batch[float32]{}, err
	}
	n, err := nn.New[float32](spec)
	if err != nil {
		return nil, nn.Batch[float32]{}, err
	}
	if err := n.Init("glorot", rand.New(rand.NewPCG(1, 0))); err != nil {
		return nil, nn.Batch[float32]{}, err
	}
	batch := nn.Batch[float32]{X: set.X, N: set.N, Labels: set.Labels}
	optimizer, err := nn.NewOptimizer[float32](nn.OptimizerSpec{Kind: "adam", LearningRate: 0.01}, len(n.Params))
	if err != nil {
		return nil, batch, err
	}
	for range steps {
		if _, err := n.Backward(batch, nil); err != nil {
			return nil, batch, err
		}
		optimizer.Step(n.Params, n.Grad)
	}
	return n, batch, nil
}

// hiddenSpins returns the signs of the hidden units' inputs on each example,
// less their medians over the examples.
func hiddenSpins(n *nn.Network[float32], b nn.Batch[float32]) [][]int8 {
	w := n.Groups[0].Tensors[0]
	units, inputs := w.Shape[0], w.Shape[1]
	spins := make([][]int8, b.N)
	for i := range spins {
		spins[i] = make([]int8, units)
	}
	z := make([]float64, b.N)
	for u := range units {
		row := n.Params[w.Offset+u*inputs:][:inputs]
		for i := range z {
			z[i] = 0
			for k, x := range b.X[i*inputs:][:inputs] {
				z[i] += float64(row[k]) * float64(x)
			}
		}
		sorted := slices.Sorted(slices.Values(z))
		median := sorted[len(sorted)/2]
		for i, v := range z {
			spins[i][u] = Signs([]float64{v - median})[0]
		}
	}
	return spins
}

// TestActivationTemperature fits a network's hidden activations as an Ising
// model: training cools them.
func TestActivationTemperature(t *testing.T) {
	statistical(t)
	var readings []float64
	for _, steps := range []int{0, 200} {
		n, batch, err := digitsNetwork(16, steps)
		if err != nil {
			t.Fatal(err)
		}
		c, err := FitCouplings(context.Background(), hiddenSpins(n, batch))
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("after %d steps: %v", steps, c.Temperature)
		if !c.Temperature.Valid() {
			t.Errorf("after %d steps: %v", steps, c.Temperature)
		}
		readings = append(readings, c.Temperature.Value)
	}
	if readings[0] < 1.2 || readings[1] > 1 {
		t.Errorf("temperatures %v before and after training", readings)
	}
}

// TestWeightTemperature fits the binary weights of a layer, a unit a sample: at
// initialisation they are independent, which the fit must say; trained, they
// have couplings between pixels and a temperature.
func TestWeightTemperature(t *testing.T) {
	statistical(t)
	for _, steps := range []int{0, 80} {
		n, _, err := digitsNetwork(600, steps)
		if err != nil {
			t.Fatal(err)
		}
		w := n.Groups[0].Tensors[0]
		var rows [][]int8
		for u := range w.Shape[0] {
			row := make([]float64, w.Shape[1])
			for k := range row {
				row[k] = float64(n.Params[w.Offset+u*w.Shape[1]+k])
			}
			rows = append(rows, Signs(row))
		}
		c, err := FitCouplings(context.Background(), rows)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("after %d steps: %v", steps, c.Temperature)
		if c.Temperature.Valid() != (steps > 0) {
			t.Errorf("after %d steps: %v", steps, c.Temperature)
		}
	}
}

// A layer's activations as spins: the couplings that reproduce them, and their
// temperature in units where the couplings on a unit have a total square of
// one.
func ExampleFitCouplings() {
	network, batch, err := digitsNetwork(16, 100)
	if err != nil {
		fmt.Println(err)
		return
	}
	couplings, err := FitCouplings(context.Background(), hiddenSpins(network, batch))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%d units, temperature below one: %v\n", len(couplings.J), couplings.Temperature.Value < 1)
	// Output: 16 units, temperature below one: true
}
