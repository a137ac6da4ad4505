package onnx

import "math"

// A scalar is an operator on single numbers.
type scalar func(args []float64) float64

func monadic(f func(float64) float64) scalar {
	return func(a []float64) float64 { return f(a[0]) }
}

func dyadic(f func(a, b float64) float64) scalar {
	return func(args []float64) float64 {
		y := args[0]
		for _, v := range args[1:] { // Min, Max and Sum take any number
			y = f(y, v)
		}
		return y
	}
}

func compare(f func(a, b float64) bool) scalar {
	return func(a []float64) float64 {
		if f(a[0], a[1]) {
			return 1
		}
		return 0
	}
}

// scalars are the elementwise operators without attributes.
var scalars = map[string]scalar{
	"Abs": monadic(math.Abs), "Ceil": monadic(math.Ceil), "Cos": monadic(math.Cos), "Erf": monadic(math.Erf), "Exp": monadic(math.Exp),
	"Floor": monadic(math.Floor), "Identity": monadic(func(x float64) float64 { return x }), "Log": monadic(math.Log),
	"Mish":       monadic(func(x float64) float64 { return x * math.Tanh(softplus(x)) }),
	"Neg":        monadic(func(x float64) float64 { return -x }),
	"Reciprocal": monadic(func(x float64) float64 { return 1 / x }), "Relu": monadic(func(x float64) float64 { return max(x, 0) }),
	"Round": monadic(math.RoundToEven), "Sigmoid": monadic(logistic), "Sin": monadic(math.Sin), "Softplus": monadic(softplus),
	"Softsign": monadic(func(x float64) float64 { return x / (1 + math.Abs(x)) }), "Sqrt": monadic(math.Sqrt), "Tanh": monadic(math.Tanh),
	"Not":   monadic(func(x float64) float64 { return 1 - x }),
	"IsNaN": compare(func(a, b float64) bool { return a != a }),

	"Add": dyadic(func(a, b float64) float64 { return a + b }), "Sub": dyadic(func(a, b float64) float64 { return a - b }),
	"Mul": dyadic(func(a, b float64) float64 { return a * b }), "Div": dyadic(func(a, b float64) float64 { return a / b }),
	"Min": dyadic(func(a, b float64) float64 { return min(a, b) }), "Max": dyadic(func(a, b float64) float64 { return max(a, b) }),
	"Sum": dyadic(func(a, b float64) float64 { return a + b }), "Pow": dyadic(math.Pow),
	"Mod": dyadic(func(a, b float64) float64 { return a - b*math.Floor(a/b) }),

	"Equal": compare(func(a, b float64) bool { return a == b }), "Greater": compare(func(a, b float64) bool { return a > b }),
	"GreaterOrEqual": compare(func(a, b float64) bool { return a >= b }), "Less": compare(func(a, b float64) bool { return a < b }),
	"LessOrEqual": compare(func(a, b float64) bool { return a <= b }),
	"And":         compare(func(a, b float64) bool { return a != 0 && b != 0 }), "Or": compare(func(a, b float64) bool { return a != 0 || b != 0 }),
	"Xor": compare(func(a, b float64) bool { return (a != 0) != (b != 0) }),
	"Where": func(a []float64) float64 {
		if a[0] != 0 {
			return a[1]
		}
		return a[2]
	},
}

// arguments is how many inputs those take that do not take two.
var arguments = map[string]int{"Where": 3, "Abs": 1, "Ceil": 1, "Cos": 1, "Erf": 1, "Exp": 1, "Floor": 1, "Identity": 1, "Log": 1, "Mish": 1,
	"Neg": 1, "Reciprocal": 1, "Relu": 1, "Round": 1, "Sigmoid": 1, "Sin": 1, "Softplus": 1, "Softsign": 1, "Sqrt": 1, "Tanh": 1, "Not": 1, "IsNaN": 1,
	"LeakyRelu": 1, "Elu": 1, "Selu": 1, "Gelu": 1, "HardSigmoid": 1, "HardSwish": 1, "Celu": 1}

// variadic operators take one input or more.
var variadic = map[string]bool{"Min": true, "Max": true, "Sum": true}

func logistic(x float64) float64 { return 1 / (1 + math.Exp(-x)) }
func softplus(x float64) float64 { return max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }

// scalarOf returns the elementwise operator of a node, nil if it is none.
// integers says that it works on integers, whose quotient is one.
func scalarOf(n *node, integers bool) scalar {
	switch n.op {
	case "LeakyRelu":
		return elu(n.number("alpha", 0.01), 1, func(x float64) float64 { return x })
	case "Elu":
		return elu(n.number("alpha", 1), 1, math.Expm1)
	case "Celu":
		alpha := n.number("alpha", 1)
		return elu(alpha, 1, func(x float64) float64 { return math.Expm1(x / alpha) })
	case "Selu":
		return elu(n.number("alpha", 1.6732632), n.number("gamma", 1.0507010), math.Expm1)
	case "HardSigmoid":
		alpha, beta := n.number("alpha", 0.2), n.number("beta", 0.5)
		return monadic(func(x float64) float64 { return max(0, min(1, alpha*x+beta)) })
	case "HardSwish":
		return monadic(func(x float64) float64 { return x * max(0, min(1, x/6+0.5)) })
	case "Gelu":
		if n.attributes["approximate"].text == "tanh" {
			return monadic(func(x float64) float64 { return x / 2 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x))) })
		}
		return monadic(func(x float64) float64 { return x / 2 * math.Erfc(-x/math.Sqrt2) })
	case "Div":
		if integers {
			return dyadic(func(a, b float64) float64 { return math.Trunc(a / b) })
		}
	case "Mod":
		if n.integer("fmod", 0) == 1 {
			return dyadic(math.Mod)
		}
	}
	return scalars[n.op]
}

// elu is x where positive and alpha·f(x) where negative, times gamma.
func elu(alpha, gamma float64, f func(float64) float64) scalar {
	return monadic(func(x float64) float64 {
		if x > 0 {
			return gamma * x
		}
		return gamma * alpha * f(x)
	})
}
