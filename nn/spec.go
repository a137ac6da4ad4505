package nn

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// A Spec describes a network completely except for its parameters: it is what
// model.json holds.
type Spec struct {
	Input       []int       `json:"input"`                  // shape of one example: [64], [1,28,28]
	Layers      []LayerSpec `json:"layers"`                 // in order of evaluation
	Loss        string      `json:"loss"`                   // "mse", "mae" or "ce"
	WeightDecay float64     `json:"weight_decay,omitempty"` // wd ≥ 0 adds (wd/2)|θ|² to the energy
}

// A LayerSpec describes one layer. A layer takes only the fields that its type
// is documented with; see [LayerTypes].
type LayerSpec struct {
	Type    string   `json:"type"`             // "linear", "conv2d", … or an activation: "relu", "leaky_relu(0.2)", …
	Name    string   `json:"name,omitempty"`   // prefix of the tensors' names; default: the index, as in torch.nn.Sequential
	Inputs  []string `json:"inputs,omitempty"` // names of the layers it reads, or "input"; default: the layer before
	Out     int      `json:"out,omitempty"`
	NoBias  bool     `json:"no_bias,omitempty"`
	Kernel  []int    `json:"kernel,omitempty"` // height and width, or one number for both; so are the next two
	Stride  []int    `json:"stride,omitempty"`
	Padding []int    `json:"padding,omitempty"`
	Groups  int      `json:"groups,omitempty"`
	Heads   int      `json:"heads,omitempty"`
	Causal  bool     `json:"causal,omitempty"`
	Vocab   int      `json:"vocab,omitempty"`
	Epsilon float64  `json:"epsilon,omitempty"`
	Rate    float64  `json:"rate,omitempty"`
}

// Limits that no network measured here reaches and no 64-bit size computation
// overflows at.
const (
	maxDimension = 1 << 28 // of one axis, and of all elements of one example's signal
	maxParams    = 1 << 30
	maxLayers    = 1 << 16
)

// ParseArch returns the multilayer perceptron written as its widths, its
// activation, and "nobias" if it has none: "64-128-10:relu",
// "64-128-10:leaky_relu(0.2):nobias". Its tensors are named as those of
// torch.nn.Sequential(Linear, ReLU, Linear): 0.weight, 0.bias, 2.weight, ….
func ParseArch(arch, loss string) (Spec, error) {
	widthText, rest, found := strings.Cut(arch, ":")
	activation, option, optioned := strings.Cut(rest, ":")
	if optioned && option != "nobias" {
		return Spec{}, fmt.Errorf("architecture %q: after the activation only nobias may stand, not %q", arch, option)
	}
	fields := strings.Split(widthText, "-")
	if len(fields) < 2 {
		return Spec{}, fmt.Errorf("architecture %q: expected at least two widths, as in 64-128-10:relu", arch)
	}
	if !found && len(fields) > 2 {
		return Spec{}, fmt.Errorf("architecture %q: expected an activation after the widths, as in 64-128-10:relu", arch)
	}
	widths := make([]int, len(fields))
	for i, field := range fields {
		w, err := strconv.Atoi(field)
		if err != nil || w < 1 || w > maxDimension {
			return Spec{}, fmt.Errorf("architecture %q: expected widths from 1 to %d, got %q", arch, maxDimension, field)
		}
		widths[i] = w
	}
	spec := Spec{Input: widths[:1], Loss: loss}
	for i, w := range widths[1:] {
		if i > 0 {
			spec.Layers = append(spec.Layers, LayerSpec{Type: activation})
		}
		spec.Layers = append(spec.Layers, LayerSpec{Type: "linear", Out: w, NoBias: optioned})
	}
	if found { // checked even when two widths leave it unused
		if _, err := activationByName(activation); err != nil {
			return Spec{}, fmt.Errorf("architecture %q: %w", arch, err)
		}
	}
	if _, err := plan[float32](spec); err != nil {
		return Spec{}, fmt.Errorf("architecture %q: %w", arch, err)
	}
	return spec, nil
}

// ParseSpec decodes a model.json and checks that it describes a network. Unknown
// fields are errors.
func ParseSpec(data []byte) (Spec, error) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	var spec Spec
	if err := decoder.Decode(&spec); err != nil {
		return Spec{}, fmt.Errorf("model description: %w", err)
	}
	if _, err := decoder.Token(); err != io.EOF {
		return Spec{}, fmt.Errorf("model description: expected one JSON object and nothing after it")
	}
	if _, err := plan[float32](spec); err != nil {
		return Spec{}, fmt.Errorf("model description: %w", err)
	}
	return spec, nil
}

// volume returns the number of elements of a shape of positive dimensions.
func volume(shape []int) (int, error) {
	size := 1
	for _, d := range shape {
		if d < 1 || d > maxDimension || size > maxDimension/d {
			return 0, fmt.Errorf("shape %v: expected positive dimensions with a product of at most %d", shape, maxDimension)
		}
		size *= d
	}
	return size, nil
}

func checkLoss(spec Spec) error {
	if _, ok := losses[spec.Loss]; !ok {
		return fmt.Errorf("loss %q: expected mse, mae or ce", spec.Loss)
	}
	if !(spec.WeightDecay >= 0) || math.IsInf(spec.WeightDecay, 0) {
		return fmt.Errorf("weight decay %v: expected a finite number ≥ 0", spec.WeightDecay)
	}
	return nil
}
