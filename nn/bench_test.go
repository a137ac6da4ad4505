package nn

import (
	"fmt"
	"testing"
)

// benchNetworks are what bench/train_step.py times in PyTorch too, under the
// same names.
var benchNetworks = []struct {
	name  string
	input []int
	// layers is the list of layers, or for a perceptron its architecture.
	layers string
	batch  int
}{
	{"mlp64", nil, "784-512-512-10:relu", 64},
	{"mlp256", nil, "784-512-512-10:relu", 256},
	{"cnn", []int{1, 28, 28}, `[{"type":"conv2d","out":16,"kernel":[3],"padding":[1]},{"type":"relu"},{"type":"maxpool2d","kernel":[2]},
		{"type":"conv2d","out":32,"kernel":[3],"padding":[1]},{"type":"relu"},{"type":"maxpool2d","kernel":[2]},
		{"type":"flatten"},{"type":"linear","out":128},{"type":"relu"},{"type":"linear","out":10}]`, 64},
	{"transformer", []int{64}, transformerLayers(4, 128, 4, 96), 16},
}

// transformerLayers is a GPT of some blocks.
func transformerLayers(blocks, width, heads, vocab int) string {
	text := fmt.Sprintf(`[{"type":"embedding","name":"wte","vocab":%d,"out":%d},{"type":"position","name":"h0"}`, vocab, width)
	for b := range blocks {
		text += fmt.Sprintf(`,{"type":"layernorm","name":"%[1]d.ln1"},{"type":"attention","name":"%[1]d.attn","heads":%[4]d,"causal":true},
			{"type":"add","name":"%[1]d.mid","inputs":["h%[1]d","%[1]d.attn"]},
			{"type":"layernorm","name":"%[1]d.ln2"},{"type":"linear","name":"%[1]d.up","out":%[3]d},{"type":"gelu","name":"%[1]d.gelu"},
			{"type":"linear","name":"%[1]d.down","out":%[5]d},{"type":"add","name":"h%[2]d","inputs":["%[1]d.mid","%[1]d.down"]}`,
			b, b+1, 4*width, heads, width)
	}
	return text + fmt.Sprintf(`,{"type":"layernorm","name":"ln"},{"type":"linear","name":"head","out":%d,"no_bias":true}]`, vocab)
}

// BenchmarkStep times a training step by plain SGD, the same with an
// Observation, and a Hessian-vector product.
func BenchmarkStep(b *testing.B) {
	for _, c := range benchNetworks {
		spec := Spec{}
		if c.input == nil {
			spec = arch(b, c.layers, "ce")
		} else {
			spec = layerSpec(b, c.input, c.layers, "ce")
		}
		n := build[float32](b, spec, 1)
		batch := randomBatch(n, c.batch, 2)
		for i := range batch.X {
			if n.vocab > 0 {
				batch.X[i] = float32(i * 7 % n.vocab)
			}
		}
		o, err := NewOptimizer[float32](OptimizerSpec{Kind: "sgd", LearningRate: 1e-4}, len(n.Params))
		if err != nil {
			b.Fatal(err)
		}
		for _, obs := range []*Observation{nil, {}} {
			b.Run(c.name+map[bool]string{true: "/train", false: "/observed"}[obs == nil], func(b *testing.B) {
				for b.Loop() {
					if _, err := n.Backward(batch, obs); err != nil {
						b.Fatal(err)
					}
					o.Step(n.Params, n.Grad)
				}
			})
		}
		v := append([]float32{}, n.Params...)
		b.Run(c.name+"/hvp", func(b *testing.B) {
			for b.Loop() {
				if err := n.HVP(batch, v, n.Grad); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
