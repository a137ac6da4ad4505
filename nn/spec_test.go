package nn

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseArch(t *testing.T) {
	spec := arch(t, "64-128-10:leaky_relu(0.2):nobias", "ce")
	want := Spec{Input: []int{64}, Loss: "ce", Layers: []LayerSpec{
		{Type: "linear", Out: 128, NoBias: true}, {Type: "leaky_relu(0.2)"}, {Type: "linear", Out: 10, NoBias: true},
	}}
	if d := cmp.Diff(want, spec); d != "" {
		t.Error(d)
	}
	n, err := New[float32](arch(t, "64-128-10:relu", "ce"))
	if err != nil {
		t.Fatal(err)
	}
	groups := []Group{
		{Name: "0", Offset: 0, Size: 64*128 + 128, Tensors: []Tensor{
			{Name: "0.weight", Shape: []int{128, 64}}, {Name: "0.bias", Shape: []int{128}, Offset: 64 * 128}}},
		{Name: "2", Offset: 64*128 + 128, Size: 128*10 + 10, Tensors: []Tensor{
			{Name: "2.weight", Shape: []int{10, 128}, Offset: 64*128 + 128}, {Name: "2.bias", Shape: []int{10}, Offset: 64*128 + 128 + 1280}}},
	}
	if d := cmp.Diff(groups, n.Groups); d != "" {
		t.Error(d)
	}
}

func TestParseArchRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                                "at least two widths",
		"64":                              "at least two widths",
		"64-128-10":                       "expected an activation",
		"64-0-10:relu":                    `got "0"`,
		"64--1-10:relu":                   `got ""`,
		"64-x-10:relu":                    `got "x"`,
		"64-99999999999999999999-10:relu": "expected widths",
		"20000-13000-13000-13000-13000-13000-13000-13000-1:relu": "more than 1073741824 parameters",
		"64-9-10:swish":                       "expected one of identity, relu",
		"64-10:swish":                         "expected one of identity, relu",
		"64-9-10:relu(1)":                     "only leaky_relu and elu",
		"64-9-10:elu(1,2)":                    "only leaky_relu and elu",
		"64-9-10:elu(":                        "finite numbers in parentheses",
		"64-9-10:elu(NaN)":                    "finite numbers in parentheses",
		"64-9-10:relu:bias":                   "only nobias",
		"268435456-268435456-268435456:relu:": "only nobias",
		"268435456-268435456-268435456:relu":  "at most",
	} {
		if _, err := ParseArch(text, "ce"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseArch(%q): error %v, want one saying %q", text, err, want)
		}
	}
	if _, err := ParseArch("2-1:relu", "hinge"); err == nil || !strings.Contains(err.Error(), "expected mse, mae or ce") {
		t.Errorf("loss hinge: error %v", err)
	}
}

func TestParseSpec(t *testing.T) {
	want := arch(t, "64-128-10:relu", "mse")
	want.WeightDecay = 0.5
	data, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseSpec(data)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	for text, want := range map[string]string{
		``:   "EOF",
		`{}`: "expected mse, mae or ce",
		`{"input":[2],"layers":[{"type":"linear","out":1}],"loss":"mse","what":1}`:                               "unknown field",
		`{"input":[2],"layers":[{"type":"linear","out":1}],"loss":"mse"} x`:                                      "nothing after it",
		`{"input":[2],"layers":[],"loss":"mse"}`:                                                                 "0 layers",
		`{"input":[],"layers":[{"type":"linear","out":1}],"loss":"mse"}`:                                         "input shape is empty",
		`{"input":[-2],"layers":[{"type":"linear","out":1}],"loss":"mse"}`:                                       "positive dimensions",
		`{"input":[65536,65536],"layers":[{"type":"linear","out":1}],"loss":"mse"}`:                              "at most",
		`{"input":[2],"layers":[{"type":"linear","out":-1}],"loss":"mse"}`:                                       "got -1",
		`{"input":[2],"layers":[{"type":"linear"}],"loss":"mse"}`:                                                "out is missing",
		`{"input":[2],"layers":[{"type":"relu"}],"loss":"mse"}`:                                                  "no parameters",
		`{"input":[2],"layers":[{"type":"relu","out":3}],"loss":"mse"}`:                                          "it takes no out",
		`{"input":[2],"layers":[{"type":"conv9","out":3}],"loss":"mse"}`:                                         "unknown layer type",
		`{"input":[2],"layers":[{"type":"linear","out":1}],"loss":"mse","weight_decay":-1}`:                      "weight decay -1",
		`{"input":[2],"layers":[{"type":"linear","out":1,"name":"1"},{"type":"relu"}],"loss":"mse"}`:             `the name "1" is taken`,
		`{"input":[2],"layers":[{"type":"linear","out":1000000000000}],"loss":"mse"}`:                            "got 1000000000000",
		`{"input":[268435456],"layers":[{"type":"linear","out":8,"no_bias":true},{"type":"tanh"}],"loss":"mse"}`: "at most",
	} {
		if _, err := ParseSpec([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseSpec(%s): error %v, want one saying %q", text, err, want)
		}
	}
}

func FuzzParseArch(f *testing.F) {
	for _, text := range []string{"64-128-10:relu", "2-1", "3-3-3:elu(0.5):nobias", "1-99999999-9:tanh", "-:(", "1-1-1:leaky_relu(1e999)"} {
		f.Add(text, "ce")
	}
	f.Fuzz(func(t *testing.T, text, loss string) {
		spec, err := ParseArch(text, loss)
		if err == nil {
			tryOut(t, spec)
		}
	})
}

func FuzzParseSpec(f *testing.F) {
	f.Add([]byte(`{"input":[2,3],"layers":[{"type":"linear","out":4},{"type":"gelu"},{"type":"linear","out":2}],"loss":"ce"}`))
	f.Add([]byte(`{"input":[9223372036854775807],"layers":[{"type":"linear","out":9223372036854775807}],"loss":"mse"}`))
	for _, layers := range layerCases {
		f.Add([]byte(`{"input":[2,5,6],"loss":"mse","layers":` + layers + `}`))
	}
	for _, layers := range sequenceCases {
		f.Add([]byte(`{"input":[5],"loss":"ce","layers":` + layers + `}`))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		spec, err := ParseSpec(data)
		if err == nil {
			tryOut(t, spec)
		}
	})
}

// tryOut runs an accepted Spec, if it is small, through every pass.
func tryOut(t *testing.T, spec Spec) {
	b, err := plan[float32](spec)
	if err != nil {
		t.Fatalf("accepted, but not planned: %v", err)
	}
	signals := 0
	for _, y := range b.nodes {
		signals += y.size
	}
	if b.params > 1e4 || signals > 1e4 {
		return
	}
	n := build[float32](t, spec, 1)
	batch := randomBatch(n, 2, 2)
	for i := range batch.X {
		if n.vocab > 0 {
			batch.X[i] = float32(i % n.vocab)
		}
	}
	var obs Observation
	if _, err := n.Backward(batch, &obs); err != nil && !strings.Contains(err.Error(), "energy is") {
		t.Fatal(err)
	}
	if err := n.HVP(batch, n.Params, make([]float32, len(n.Params))); err != nil && !strings.Contains(err.Error(), "energy is") {
		t.Fatal(err)
	}
}
