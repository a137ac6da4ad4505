package nn

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// An activation is φ with its first two derivatives. At a kink the derivatives
// are PyTorch's one-sided choice.
type activation struct {
	name  string // as the Spec has it: "leaky_relu(0.2)"
	kind  string // without the parameter: "leaky_relu"
	param float64
	value func(z float64) float64 // φ
	slope func(z float64) float64 // φ'
	bend  func(z float64) float64 // φ''
}

const (
	// Klambauer et al., arXiv 1706.02515.
	seluScale = 1.0507009873554804934193349852946
	seluAlpha = 1.6732632423543772848170429916717
)

// activationNames are the activations a Spec may name.
var activationNames = []string{
	"identity", "relu", "leaky_relu", "elu", "selu", "gelu", "silu", "softplus",
	"sigmoid", "tanh", "softsign", "hardtanh", "sin", "relu6", "mish", "gelu_tanh",
}

// activationByName returns the activation of a name such as "relu" or
// "leaky_relu(0.2)"; leaky_relu's slope is 0.01 and elu's alpha 1 by default.
func activationByName(name string) (activation, error) {
	kind, arguments, err := parseCall(name)
	if err != nil {
		return activation{}, fmt.Errorf("activation %w", err)
	}
	param := map[string]float64{"leaky_relu": 0.01, "elu": 1}[kind]
	switch {
	case len(arguments) == 1 && (kind == "leaky_relu" || kind == "elu"):
		param = arguments[0]
	case len(arguments) > 0:
		return activation{}, fmt.Errorf("activation %q: only leaky_relu and elu take a parameter, and one", name)
	}
	a, ok := newActivation(kind, param)
	if !ok {
		return activation{}, fmt.Errorf("activation %q: expected one of %s", name, strings.Join(activationNames, ", "))
	}
	a.name, a.kind, a.param = name, kind, param
	return a, nil
}

// parseCall splits "name(1,2)" into its name and finite arguments.
func parseCall(text string) (name string, arguments []float64, err error) {
	name, list, found := strings.Cut(text, "(")
	if !found {
		return name, nil, nil
	}
	list, closed := strings.CutSuffix(list, ")")
	for field := range strings.SplitSeq(list, ",") {
		v, err := strconv.ParseFloat(strings.TrimSpace(field), 64)
		if !closed || err != nil || v-v != 0 {
			return "", nil, fmt.Errorf("%q: expected finite numbers in parentheses, as in leaky_relu(0.2)", text)
		}
		arguments = append(arguments, v)
	}
	return name, arguments, nil
}

func newActivation(kind string, param float64) (activation, bool) {
	switch kind {
	case "identity":
		return activation{value: func(z float64) float64 { return z }, slope: one, bend: zero}, true
	case "relu", "leaky_relu":
		return leakyReLU(param), true
	case "elu":
		return elu(param, 1), true
	case "selu":
		return elu(seluAlpha, seluScale), true
	case "gelu":
		return activation{value: gelu, slope: geluSlope, bend: geluBend}, true
	case "gelu_tanh":
		return activation{value: geluTanh, slope: geluTanhSlope, bend: geluTanhBend}, true
	case "silu":
		return activation{value: silu, slope: siluSlope, bend: siluBend}, true
	case "softplus":
		return activation{value: softplus, slope: logistic, bend: logisticSlope}, true
	case "sigmoid":
		return activation{value: logistic, slope: logisticSlope, bend: logisticBend}, true
	case "tanh":
		return activation{value: math.Tanh, slope: tanhSlope, bend: tanhBend}, true
	case "softsign":
		return activation{value: softsign, slope: softsignSlope, bend: softsignBend}, true
	case "hardtanh":
		return clip(-1, 1), true
	case "relu6":
		return clip(0, 6), true
	case "sin":
		return activation{value: math.Sin, slope: math.Cos, bend: func(z float64) float64 { return -math.Sin(z) }}, true
	case "mish":
		return activation{value: mish, slope: mishSlope, bend: mishBend}, true
	}
	return activation{}, false
}

func zero(float64) float64 { return 0 }
func one(float64) float64  { return 1 }

func leakyReLU(slope float64) activation {
	return activation{
		value: func(z float64) float64 {
			if z > 0 {
				return z
			}
			return slope * z
		},
		slope: func(z float64) float64 {
			if z > 0 {
				return 1
			}
			return slope
		},
		bend: zero,
	}
}

func elu(alpha, scale float64) activation {
	return activation{
		value: func(z float64) float64 {
			if z > 0 {
				return scale * z
			}
			return scale * alpha * math.Expm1(z)
		},
		slope: func(z float64) float64 {
			if z > 0 {
				return scale
			}
			return scale * alpha * math.Exp(z)
		},
		bend: func(z float64) float64 {
			if z > 0 {
				return 0
			}
			return scale * alpha * math.Exp(z)
		},
	}
}

func clip(low, high float64) activation {
	return activation{
		value: func(z float64) float64 { return min(max(z, low), high) },
		slope: func(z float64) float64 {
			if z > low && z < high {
				return 1
			}
			return 0
		},
		bend: zero,
	}
}

func normalDensity(z float64) float64 { return math.Exp(-z*z/2) / math.Sqrt(2*math.Pi) }
func normalCDF(z float64) float64     { return math.Erfc(-z/math.Sqrt2) / 2 }

func gelu(z float64) float64      { return z * normalCDF(z) }
func geluSlope(z float64) float64 { return normalCDF(z) + z*normalDensity(z) }
func geluBend(z float64) float64  { return normalDensity(z) * (2 - z*z) }

// GELU's approximation is z·logistic(w), w = √(8/π)(z + 0.044715z³): GPT-2's.
const (
	geluTanhScale = 1.5957691216057307117597842397375
	geluTanhCube  = 0.044715
)

func geluTanhGate(z float64) (w, rate float64) {
	return geluTanhScale * z * (1 + geluTanhCube*z*z), geluTanhScale * (1 + 3*geluTanhCube*z*z)
}

func geluTanh(z float64) float64 {
	w, _ := geluTanhGate(z)
	return z * logistic(w)
}

func geluTanhSlope(z float64) float64 {
	w, rate := geluTanhGate(z)
	return logistic(w) + z*logisticSlope(w)*rate
}

func geluTanhBend(z float64) float64 {
	w, rate := geluTanhGate(z)
	return logisticSlope(w)*(2*rate+6*geluTanhScale*geluTanhCube*z*z) + z*logisticBend(w)*rate*rate
}

// logistic does not overflow: e^{+∞} is +Inf and 1/Inf 0.
func logistic(z float64) float64      { return 1 / (1 + math.Exp(-z)) }
func logisticSlope(z float64) float64 { return logistic(z) * logistic(-z) }
func logisticBend(z float64) float64  { return logisticSlope(z) * (1 - 2*logistic(z)) }

func softplus(z float64) float64 { return max(z, 0) + math.Log1p(math.Exp(-math.Abs(z))) }

func silu(z float64) float64      { return z * logistic(z) }
func siluSlope(z float64) float64 { return logistic(z) + z*logisticSlope(z) }
func siluBend(z float64) float64  { return 2*logisticSlope(z) + z*logisticBend(z) }

// tanhSlope is sech², without cancellation.
func tanhSlope(z float64) float64 { return 4 * logistic(2*z) * logistic(-2*z) }
func tanhBend(z float64) float64  { return -2 * math.Tanh(z) * tanhSlope(z) }

func softsign(z float64) float64 { return z / (1 + math.Abs(z)) }

func softsignSlope(z float64) float64 {
	d := 1 + math.Abs(z)
	return 1 / (d * d)
}

func softsignBend(z float64) float64 {
	d := 1 + math.Abs(z)
	return math.Copysign(2, -z) / (d * d * d)
}

func mish(z float64) float64 { return z * math.Tanh(softplus(z)) }

func mishSlope(z float64) float64 {
	p := softplus(z)
	return math.Tanh(p) + z*tanhSlope(p)*logistic(z)
}

func mishBend(z float64) float64 {
	p, s := softplus(z), logistic(z)
	return tanhSlope(p)*(2*s+z*logisticSlope(z)) + z*tanhBend(p)*s*s
}
