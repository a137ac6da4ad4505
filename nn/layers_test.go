package nn

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// layerCases are small networks that together hold every layer in every mode.
// Smooth activations, so that numerical derivatives are exact enough; max-pooling
// is piecewise linear and its kinks are far from random points.
var layerCases = map[string]string{
	"conv":          `[{"type":"conv2d","out":4,"kernel":[3],"padding":[1]},{"type":"tanh"},{"type":"flatten"},{"type":"linear","out":3}]`,
	"conv stride":   `[{"type":"conv2d","out":4,"kernel":[3,2],"stride":[2,1],"padding":[2,1]},{"type":"tanh"},{"type":"conv2d","out":2,"kernel":[2],"stride":[2,3],"no_bias":true},{"type":"flatten"},{"type":"linear","out":3}]`,
	"conv groups":   `[{"type":"conv2d","out":4,"kernel":[3],"groups":2},{"type":"gelu"},{"type":"conv2d","out":4,"kernel":[2],"groups":4},{"type":"flatten"},{"type":"linear","out":3}]`,
	"conv 1x1":      `[{"type":"conv2d","out":4,"kernel":[1]},{"type":"tanh"},{"type":"conv2d","out":3,"kernel":[1]},{"type":"global_avgpool"}]`,
	"conv 1x1/2":    `[{"type":"conv2d","out":4,"kernel":[1],"stride":[2]},{"type":"tanh"},{"type":"conv2d","out":3,"kernel":[1],"stride":[1,2]},{"type":"global_avgpool"}]`,
	"maxpool":       `[{"type":"conv2d","out":3,"kernel":[2]},{"type":"maxpool2d","kernel":[2]},{"type":"flatten"},{"type":"linear","out":3}]`,
	"maxpool pad":   `[{"type":"conv2d","out":3,"kernel":[2]},{"type":"maxpool2d","kernel":[3,2],"stride":[2,1],"padding":[1]},{"type":"tanh"},{"type":"flatten"},{"type":"linear","out":3}]`,
	"avgpool":       `[{"type":"conv2d","out":3,"kernel":[2]},{"type":"tanh"},{"type":"avgpool2d","kernel":[3,2],"stride":[2,1],"padding":[1]},{"type":"flatten"},{"type":"linear","out":3}]`,
	"pool of input": `[{"type":"avgpool2d","kernel":[2]},{"type":"maxpool2d","kernel":[2],"stride":[1]},{"type":"conv2d","out":3,"kernel":[1]},{"type":"global_avgpool"}]`,
	"batchnorm":     `[{"type":"conv2d","out":3,"kernel":[2]},{"type":"batchnorm"},{"type":"tanh"},{"type":"flatten"},{"type":"batchnorm","epsilon":0.1},{"type":"linear","out":3},{"type":"batchnorm"}]`,
	"bn of input":   `[{"type":"batchnorm"},{"type":"flatten"},{"type":"tanh"},{"type":"linear","out":3}]`,
	"layernorm":     `[{"type":"flatten"},{"type":"layernorm"},{"type":"linear","out":5},{"type":"layernorm","epsilon":0.1},{"type":"tanh"},{"type":"linear","out":3},{"type":"layernorm"}]`,
	"rmsnorm":       `[{"type":"flatten"},{"type":"rmsnorm"},{"type":"linear","out":5},{"type":"rmsnorm","epsilon":0.1},{"type":"tanh"},{"type":"linear","out":3},{"type":"rmsnorm"}]`,
	"dropout":       `[{"type":"flatten"},{"type":"dropout","rate":0.5},{"type":"linear","out":6},{"type":"dropout","rate":0.3},{"type":"tanh"},{"type":"linear","out":3}]`,
	"residual":      `[{"type":"flatten"},{"type":"linear","out":4,"name":"a"},{"type":"tanh","name":"b"},{"type":"linear","out":4,"name":"c"},{"type":"add","inputs":["c","a","b","a"],"name":"d"},{"type":"gelu"},{"type":"linear","out":3}]`,
	"add of input":  `[{"type":"tanh","name":"t"},{"type":"add","inputs":["input","t"]},{"type":"flatten"},{"type":"linear","out":3}]`,
	"resnet": `[{"type":"conv2d","out":4,"kernel":[3],"padding":[1],"no_bias":true,"name":"stem"},{"type":"batchnorm","name":"bn"},{"type":"silu","name":"x"},
		{"type":"conv2d","out":6,"kernel":[3],"stride":[2],"padding":[1],"no_bias":true},{"type":"batchnorm"},{"type":"silu"},
		{"type":"conv2d","out":6,"kernel":[3],"padding":[1],"no_bias":true},{"type":"batchnorm","name":"body"},
		{"type":"conv2d","out":6,"kernel":[1],"stride":[2],"no_bias":true,"inputs":["x"]},{"type":"batchnorm","name":"short"},
		{"type":"add","inputs":["body","short"]},{"type":"silu"},{"type":"global_avgpool"},{"type":"linear","out":3}]`,
}

// sequenceCases read an input of 5 tokens from a vocabulary of 4.
var sequenceCases = map[string]string{
	"embedding": `[{"type":"embedding","vocab":4,"out":6},{"type":"tanh"},{"type":"linear","out":3}]`,
	"position":  `[{"type":"embedding","vocab":4,"out":6},{"type":"position"},{"type":"tanh"},{"type":"mean"},{"type":"linear","out":3}]`,
	"attention": `[{"type":"embedding","vocab":4,"out":6},{"type":"attention","heads":2},{"type":"linear","out":3}]`,
	"causal":    `[{"type":"embedding","vocab":4,"out":6},{"type":"attention","heads":3,"causal":true,"no_bias":true},{"type":"linear","out":3}]`,
	"gpt": `[{"type":"embedding","vocab":4,"out":8,"name":"wte"},{"type":"position","name":"wpe"},{"type":"dropout","rate":0.2,"name":"x0"},
		{"type":"layernorm"},{"type":"attention","heads":2,"causal":true,"name":"attn"},{"type":"add","inputs":["x0","attn"],"name":"x1"},
		{"type":"layernorm"},{"type":"linear","out":16},{"type":"gelu"},{"type":"linear","out":8,"name":"mlp"},{"type":"add","inputs":["x1","mlp"]},
		{"type":"layernorm"},{"type":"linear","out":4,"no_bias":true}]`,
}

func layerSpec(t testing.TB, input []int, layers, loss string) Spec {
	t.Helper()
	spec := Spec{Input: input, Loss: loss}
	if err := json.Unmarshal([]byte(layers), &spec.Layers); err != nil {
		t.Fatal(err)
	}
	return spec
}

// jitter moves everything off special values: norms' gains off 1 and so on.
func jitter(n *Network[float64], seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 9))
	for i := range n.Params {
		n.Params[i] += 0.2 * rng.NormFloat64()
	}
	for i := range n.State {
		n.State[i] += 0.3 * rng.Float64()
	}
}

func randomTokens(n *Network[float64], examples int, seed uint64) Batch[float64] {
	b := randomBatch(n, examples, seed)
	rng := rand.New(rand.NewPCG(seed, 3))
	for i := range b.X {
		b.X[i] = float64(rng.IntN(n.vocab))
	}
	return b
}

func forEachLayerCase(t *testing.T, check func(t *testing.T, n *Network[float64], b Batch[float64])) {
	for name, layers := range layerCases {
		for _, loss := range []string{"mse", "ce"} {
			t.Run(name+"/"+loss, func(t *testing.T) {
				n := build[float64](t, layerSpec(t, []int{2, 5, 6}, layers, loss), 31)
				jitter(n, 32)
				check(t, n, randomBatch(n, 4, 33))
			})
		}
	}
	for name, layers := range sequenceCases {
		for _, loss := range []string{"mse", "ce"} {
			t.Run(name+"/"+loss, func(t *testing.T) {
				n := build[float64](t, layerSpec(t, []int{5}, layers, loss), 31)
				jitter(n, 32)
				check(t, n, randomTokens(n, 4, 33))
			})
		}
	}
}

func TestLayerDerivatives(t *testing.T) {
	forEachLayerCase(t, func(t *testing.T, n *Network[float64], b Batch[float64]) {
		checkDerivatives(t, n, b, 1e-7)
		checkObservation(t, n, b)
	})
}

// periodic is a source that repeats its numbers, so that dropout drops the same
// elements in every pass that draws as many.
type periodic struct{ period, at uint64 }

func (p *periodic) Uint64() uint64 {
	p.at = (p.at + 1) % p.period
	return rand.NewPCG(p.at, 1).Uint64()
}

func TestLayerDerivativesWhileTraining(t *testing.T) {
	forEachLayerCase(t, func(t *testing.T, n *Network[float64], b Batch[float64]) {
		draws := 0
		trains := false
		for _, y := range n.nodes {
			trains = trains || y.kind == "batchnorm" || y.kind == "dropout"
			if y.kind == "dropout" {
				draws += b.N * y.size
			}
		}
		if !trains {
			return // as when not training
		}
		n.Training, n.Rand = true, rand.New(&periodic{period: uint64(max(draws, 1))})
		checkDerivatives(t, n, b, 1e-7)
	})
}

func TestDropout(t *testing.T) {
	n := build[float64](t, layerSpec(t, []int{1000}, `[{"type":"dropout","rate":0.25},{"type":"linear","out":1}]`, "mse"), 1)
	b := randomBatch(n, 8, 2)
	if _, err := n.Backward(b, nil); err != nil {
		t.Fatal(err)
	}
	near(t, "signal when measuring", n.nodes[1].a, b.X, 0)
	n.Training = true
	if _, err := n.Backward(b, nil); err == nil || !strings.Contains(err.Error(), "needs Network.Rand") {
		t.Errorf("without a source: error %v", err)
	}
	n.Rand = rand.New(rand.NewPCG(1, 2))
	if _, err := n.Backward(b, nil); err != nil {
		t.Fatal(err)
	}
	dropped := 0.0
	for i, v := range n.nodes[1].a {
		if v == 0 {
			dropped++
		} else {
			closeTo(t, "what is kept", v, b.X[i]/0.75, 1e-15)
		}
	}
	within(t, "dropped fraction", dropped/8000, 0.25, 4*math.Sqrt(0.25*0.75/8000))
}

// A batch through batchnorm while training leaves mean 0 and variance 1 in each
// channel, and moves the running ones by a tenth.
func TestBatchNormRunningStatistics(t *testing.T) {
	n := build[float64](t, layerSpec(t, []int{2, 3, 3}, `[{"type":"batchnorm"},{"type":"flatten"},{"type":"linear","out":1}]`, "mse"), 1)
	b := randomBatch(n, 50, 2)
	for i := range b.X {
		b.X[i] = 3 + 2*b.X[i]
	}
	n.Training = true
	if _, err := n.Energy(b); err != nil {
		t.Fatal(err)
	}
	for c := range 2 {
		in, out := [2]float64{}, [2]float64{}
		for i := range 450 {
			at := i/9*18 + c*9 + i%9
			x, y := b.X[at], n.nodes[1].a[at]
			in[0] += x / 450
			in[1] += x * x / 450
			out[0] += y / 450
			out[1] += y * y / 450
		}
		variance := in[1] - in[0]*in[0]
		within(t, "mean out", out[0], 0, 1e-12)
		within(t, "variance out", out[1], variance/(variance+1e-5), 1e-12)
		within(t, "running mean", n.State[c], 0.1*in[0], 1e-12)
		within(t, "running variance", n.State[2+c], 0.9+0.1*variance*450/449, 1e-12)
	}
	names := n.StateTensors[0].Name + " " + n.StateTensors[1].Name
	if names != "0.running_mean 0.running_var" {
		t.Errorf("state tensors %s", names)
	}
	if c := n.Clone(); c.State[1] != n.State[1] {
		t.Error("the clone has another state")
	}
}

func TestLayersRefuse(t *testing.T) {
	for layers, want := range map[string]string{
		`[{"type":"conv2d","out":2,"kernel":[6]}]`:                                               "larger than the input",
		`[{"type":"conv2d","out":2,"kernel":[2],"padding":[2]}]`:                                 "less than the kernel",
		`[{"type":"conv2d","out":2,"kernel":[2],"stride":[0]}]`:                                  "stride: expected numbers from 1",
		`[{"type":"conv2d","out":2,"kernel":[1,2,3]}]`:                                           "one or two numbers",
		`[{"type":"conv2d","out":3,"kernel":[1],"groups":2}]`:                                    "does not divide",
		`[{"type":"conv2d","out":3}]`:                                                            "kernel is missing",
		`[{"type":"maxpool2d","kernel":[3],"padding":[2]}]`:                                      "at most half",
		`[{"type":"flatten"},{"type":"conv2d","out":3,"kernel":[1]}]`:                            "expected an input of shape [channels, height, width], got [60]",
		`[{"type":"attention","heads":2}]`:                                                       "expected an input of shape [positions, features]",
		`[{"type":"mean"}]`:                                                                      "expected an input of shape [positions, features]",
		`[{"type":"tanh"},{"type":"embedding","vocab":3,"out":2}]`:                               "expected to read the input",
		`[{"type":"embedding","vocab":268435456,"out":268435456}]`:                               "at most",
		`[{"type":"dropout","rate":1}]`:                                                          "between 0 and 1",
		`[{"type":"add","inputs":["input"]}]`:                                                    "at least two inputs",
		`[{"type":"flatten","name":"f"},{"type":"add","inputs":["input","f"]}]`:                  "of one shape",
		`[{"type":"tanh","inputs":["later"]},{"type":"tanh","name":"later"}]`:                    `no layer "later" stands before it`,
		`[{"type":"tanh","inputs":["input","input"]}]`:                                           "expected one input, got 2",
		`[{"type":"linear","out":2,"name":"idle"},{"type":"linear","out":2,"inputs":["input"]}]`: `nothing reads layer "idle"`,
		`[{"type":"linear","out":2,"epsilon":0.1}]`:                                              "it takes no epsilon",
	} {
		spec := layerSpec(t, []int{2, 5, 6}, layers, "mse")
		if _, err := New[float32](spec); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one saying %q", layers, err, want)
		}
	}
	n := build[float64](t, layerSpec(t, []int{5}, sequenceCases["gpt"], "ce"), 1)
	for _, token := range []float64{-1, 4, 0.5, math.NaN(), math.Inf(1)} {
		b := randomTokens(n, 2, 1)
		b.X[7] = token
		if _, err := n.Energy(b); err == nil || !strings.Contains(err.Error(), "expected tokens from 0 to 3") {
			t.Errorf("token %v: error %v", token, err)
		}
	}
}

func TestLayersDoNotAllocate(t *testing.T) {
	for name, input := range map[string][]int{"resnet": {2, 5, 6}, "maxpool": {2, 5, 6}, "gpt": {5}} {
		n := build[float64](t, layerSpec(t, input, layerCases[name]+sequenceCases[name], "ce"), 1)
		b := randomBatch(n, 4, 2)
		if n.vocab > 0 {
			b = randomTokens(n, 4, 2)
		}
		n.Training, n.Rand = true, rand.New(rand.NewPCG(1, 2))
		var obs Observation
		v := make([]float64, len(n.Params))
		step := func() {
			if _, err := n.Backward(b, &obs); err != nil {
				t.Fatal(err)
			}
			if err := n.HVP(b, n.Grad, v); err != nil {
				t.Fatal(err)
			}
		}
		step()
		if allocations := testing.AllocsPerRun(5, step); allocations != 0 {
			t.Errorf("%s: %v allocations a step, want none", name, allocations)
		}
	}
}

// The float32 network, with its own kernels and elementary functions, computes
// what the float64 one does.
func TestSinglePrecision(t *testing.T) {
	forEachLayerCase(t, func(t *testing.T, n *Network[float64], b Batch[float64]) {
		single, err := New[float32](n.Spec)
		if err != nil {
			t.Fatal(err)
		}
		convert(single.Params, n.Params)
		convert(single.State, n.State)
		c := Batch[float32]{N: b.N, X: make([]float32, len(b.X)), Y: make([]float32, len(b.Y)), Labels: b.Labels}
		convert(c.X, b.X)
		convert(c.Y, b.Y)
		var got, want Observation
		energy, err := n.Backward(b, &want)
		if err != nil {
			t.Fatal(err)
		}
		if e, err := single.Backward(c, &got); err != nil || math.Abs(e-energy) > 1e-4*(1+energy) {
			t.Errorf("energy %g (%v), want %g", e, err, energy)
		}
		grad, hv := make([]float64, len(n.Params)), make([]float64, len(n.Params))
		convert(grad, single.Grad)
		near(t, "gradient", grad, n.Grad, 1e-4)
		for g := range n.Groups {
			near(t, "virials", got.Virial[g], want.Virial[g], 1e-4)
			near(t, "gradient norms", got.GradNorm2[g], want.GradNorm2[g], 1e-4)
		}
		hv32 := make([]float32, len(n.Params))
		if err := n.HVP(b, n.Params, hv); err != nil {
			t.Fatal(err)
		}
		if err := single.HVP(c, single.Params, hv32); err != nil {
			t.Fatal(err)
		}
		convert(grad, hv32)
		near(t, "Hessian-vector product", grad, hv, 1e-3)
	})
}
