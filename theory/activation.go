package theory

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// An Activation is a scalar activation function φ with what the theory needs to
// know about it. At a kink the derivative is PyTorch's one-sided choice.
type Activation struct {
	Name       string                  // as ActivationByName accepts it: "relu", "leaky_relu(0.2)"
	Value      func(z float64) float64 // φ(z)
	Derivative func(z float64) float64 // φ'(z)
	// Kinks lists the points other than 0 where φ is not smooth; integrals are
	// split there (and at 0 always).
	Kinks []float64
	// Homogeneous says that φ(cz) = cφ(z) for every c > 0: a type I engine.
	Homogeneous bool

	// second, when not nil, returns ⟨φ(z)²⟩/q and ⟨zφ(z)φ'(z)⟩/q for z ~ N(0, q)
	// in closed form.
	second func(q float64) (ratio, slope float64)
}

const (
	leakySlope = 0.01 // PyTorch's default
	// Fixed point of mean 0 and variance 1: Klambauer et al., arXiv 1706.02515.
	seluScale = 1.0507009873554804934193349852946
	seluAlpha = 1.6732632423543772848170429916717
)

// Activations returns the activation functions kelvin knows, in the order of
// its tables, with default parameters.
func Activations() []Activation {
	return []Activation{
		identity(), relu(), leakyReLU(leakySlope), elu(1), selu(), gelu(), silu(), softplus(),
		sigmoid(), tanh(), softsign(), hardtanh(), sine(), relu6(), mish(),
	}
}

// ActivationByName returns the activation function of that name, one of
// Activations or "gelu_tanh", GELU's approximation in GPT-2. "leaky_relu"
// (slope 0.01) and "elu" (alpha 1) take their parameter in parentheses:
// "leaky_relu(0.2)".
func ActivationByName(name string) (Activation, error) {
	base, argument, parametric := strings.Cut(name, "(")
	if !parametric {
		for _, a := range Activations() {
			if a.Name == name {
				return a, nil
			}
		}
		if name == "gelu_tanh" {
			return geluTanh(), nil
		}
		return Activation{}, fmt.Errorf("activation %q: expected one of %s", name, strings.Join(activationNames(), ", "))
	}
	number, closed := strings.CutSuffix(argument, ")")
	parameter, err := strconv.ParseFloat(number, 64)
	if !closed || err != nil || math.IsNaN(parameter) || math.IsInf(parameter, 0) {
		return Activation{}, fmt.Errorf("activation %q: expected a finite number in parentheses, as in leaky_relu(0.2)", name)
	}
	var a Activation
	switch base {
	case "leaky_relu":
		a = leakyReLU(parameter)
	case "elu":
		a = elu(parameter)
	default:
		return Activation{}, fmt.Errorf("activation %q: only leaky_relu and elu take a parameter", name)
	}
	a.Name = name
	return a, nil
}

func activationNames() []string {
	var names []string
	for _, a := range Activations() {
		names = append(names, a.Name)
	}
	return names
}

func identity() Activation {
	return Activation{
		Name:        "identity",
		Value:       func(z float64) float64 { return z },
		Derivative:  func(float64) float64 { return 1 },
		Homogeneous: true,
		second:      func(float64) (float64, float64) { return 1, 1 },
	}
}

func relu() Activation {
	a := leakyReLU(0)
	a.Name = "relu"
	return a
}

func leakyReLU(slope float64) Activation {
	ratio := (1 + slope*slope) / 2
	return Activation{
		Name: "leaky_relu",
		Value: func(z float64) float64 {
			if z > 0 {
				return z
			}
			return slope * z
		},
		Derivative: func(z float64) float64 {
			if z > 0 {
				return 1
			}
			return slope
		},
		Homogeneous: true,
		second:      func(float64) (float64, float64) { return ratio, ratio },
	}
}

func elu(alpha float64) Activation {
	return Activation{
		Name: "elu",
		Value: func(z float64) float64 {
			if z > 0 {
				return z
			}
			return alpha * math.Expm1(z)
		},
		Derivative: func(z float64) float64 {
			if z > 0 {
				return 1
			}
			return alpha * math.Exp(z)
		},
	}
}

func selu() Activation {
	e := elu(seluAlpha)
	return Activation{
		Name:       "selu",
		Value:      func(z float64) float64 { return seluScale * e.Value(z) },
		Derivative: func(z float64) float64 { return seluScale * e.Derivative(z) },
	}
}

func gelu() Activation {
	cdf := func(z float64) float64 { return math.Erfc(-z/math.Sqrt2) / 2 }
	return Activation{
		Name:       "gelu",
		Value:      func(z float64) float64 { return z * cdf(z) },
		Derivative: func(z float64) float64 { return cdf(z) + z*normalDensity(z) },
	}
}

// geluTanh is x/2·(1 + tanh w/2) = x·logistic(w), w = √(8/π)(x + 0.044715x³).
func geluTanh() Activation {
	scale := math.Sqrt(8 / math.Pi)
	gate := func(z float64) float64 { return logistic(scale * (z + 0.044715*z*z*z)) }
	return Activation{
		Name:  "gelu_tanh",
		Value: func(z float64) float64 { return z * gate(z) },
		Derivative: func(z float64) float64 {
			s := gate(z)
			return s + z*s*(1-s)*scale*(1+3*0.044715*z*z)
		},
	}
}

func silu() Activation {
	return Activation{
		Name:  "silu",
		Value: func(z float64) float64 { return z * logistic(z) },
		Derivative: func(z float64) float64 {
			s := logistic(z)
			return s + z*s*logistic(-z)
		},
	}
}

func softplus() Activation {
	return Activation{Name: "softplus", Value: logOnePlusExp, Derivative: logistic}
}

func sigmoid() Activation {
	return Activation{
		Name:       "sigmoid",
		Value:      logistic,
		Derivative: func(z float64) float64 { return logistic(z) * logistic(-z) },
	}
}

func tanh() Activation {
	return Activation{
		Name:  "tanh",
		Value: math.Tanh,
		Derivative: func(z float64) float64 {
			return 4 * logistic(2*z) * logistic(-2*z) // sech², without cancellation
		},
	}
}

func softsign() Activation {
	return Activation{
		Name:  "softsign",
		Value: func(z float64) float64 { return z / (1 + math.Abs(z)) },
		Derivative: func(z float64) float64 {
			d := 1 + math.Abs(z)
			return 1 / (d * d)
		},
	}
}

func hardtanh() Activation { return clip("hardtanh", -1, 1) }

func relu6() Activation { return clip("relu6", 0, 6) }

func clip(name string, low, high float64) Activation {
	return Activation{
		Name:  name,
		Value: func(z float64) float64 { return math.Min(math.Max(z, low), high) },
		Derivative: func(z float64) float64 {
			if z > low && z < high {
				return 1
			}
			return 0
		},
		Kinks: []float64{low, high},
	}
}

func sine() Activation {
	return Activation{
		Name:       "sin",
		Value:      math.Sin,
		Derivative: math.Cos,
		// Quadrature would have to resolve every period of sin² at large q.
		second: func(q float64) (float64, float64) {
			return -math.Expm1(-2*q) / (2 * q), math.Exp(-2 * q)
		},
	}
}

func mish() Activation {
	return Activation{
		Name:  "mish",
		Value: func(z float64) float64 { return z * math.Tanh(logOnePlusExp(z)) },
		Derivative: func(z float64) float64 {
			p := logOnePlusExp(z)
			sech2 := 4 * logistic(2*p) * logistic(-2*p)
			return math.Tanh(p) + z*sech2*logistic(z)
		},
	}
}

// logistic is 1/(1+e^{−z}), which does not overflow: e^{+∞} is +Inf and 1/Inf 0.
func logistic(z float64) float64 { return 1 / (1 + math.Exp(-z)) }

// logOnePlusExp is the softplus ln(1+e^z).
func logOnePlusExp(z float64) float64 {
	return math.Max(z, 0) + math.Log1p(math.Exp(-math.Abs(z)))
}
