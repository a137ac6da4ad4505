package posterior

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// A prior is −log of a density, up to a constant, and its derivative.
type prior struct {
	positive bool    // lives on x > 0 only
	power    float64 // of x, that the density of a positive parameter goes to 0 with
	energy   func(x float64) (e, slope float64)
}

// priorForm is a family of priors: its arguments, which of them must be above
// zero, and the prior for their values.
type priorForm struct {
	arguments string // "mean, sd", for messages
	count     int
	positive  []int
	make      func(a []float64) prior
}

var priorForms = map[string]priorForm{
	"flat": {"", 0, nil, func([]float64) prior {
		return prior{energy: func(float64) (float64, float64) { return 0, 0 }}
	}},
	"normal": {"mean, sd", 2, []int{1}, func(a []float64) prior {
		return prior{energy: func(x float64) (float64, float64) {
			z := (x - a[0]) / a[1]
			return z * z / 2, z / a[1]
		}}
	}},
	"student": {"degrees of freedom, centre, scale", 3, []int{0, 2}, func(a []float64) prior {
		return prior{energy: func(x float64) (float64, float64) { return studentEnergy(a[0], x-a[1], a[2]) }}
	}},
	"cauchy": {"centre, scale", 2, []int{1}, func(a []float64) prior {
		return prior{energy: func(x float64) (float64, float64) { return studentEnergy(1, x-a[0], a[1]) }}
	}},
	"laplace": {"centre, scale", 2, []int{1}, func(a []float64) prior {
		return prior{energy: func(x float64) (float64, float64) {
			return math.Abs(x-a[0]) / a[1], math.Copysign(1/a[1], x-a[0])
		}}
	}},
	"half-normal": {"scale", 1, []int{0}, func(a []float64) prior {
		return prior{positive: true, energy: func(x float64) (float64, float64) { return x * x / (2 * a[0] * a[0]), x / (a[0] * a[0]) }}
	}},
	"half-cauchy": {"scale", 1, []int{0}, func(a []float64) prior {
		return prior{positive: true, energy: func(x float64) (float64, float64) { return studentEnergy(1, x, a[0]) }}
	}},
	"exponential": {"rate", 1, []int{0}, func(a []float64) prior {
		return prior{positive: true, energy: func(x float64) (float64, float64) { return a[0] * x, a[0] }}
	}},
	"gamma": {"shape, rate", 2, []int{0, 1}, func(a []float64) prior {
		return prior{positive: true, power: a[0] - 1, energy: func(x float64) (float64, float64) {
			return a[1]*x - (a[0]-1)*math.Log(x), a[1] - (a[0]-1)/x
		}}
	}},
	"lognormal": {"mean, sd of the logarithm", 2, []int{1}, func(a []float64) prior {
		return prior{positive: true, power: math.Inf(1), energy: func(x float64) (float64, float64) {
			z := (math.Log(x) - a[0]) / a[1]
			return z*z/2 + math.Log(x), (z/a[1] + 1) / x
		}}
	}},
}

// studentEnergy is −log of Student's t density at r with the given scale.
func studentEnergy(nu, r, scale float64) (e, slope float64) {
	z := r / scale
	return (nu + 1) / 2 * math.Log1p(z*z/nu), (nu + 1) * z / (nu + z*z) / scale
}

// parsePrior reads "normal(0, 2.5)". An argument may be the name of a number in
// the data.
func parsePrior(text string, data Data) (prior, error) {
	name, rest, ok := strings.Cut(strings.TrimSpace(text), "(")
	form, known := priorForms[name]
	if !known {
		return prior{}, fmt.Errorf("expected one of %s, got %q", strings.Join(sortedKeys(priorForms), ", "), text)
	}
	var fields []string
	if ok {
		rest, ok = strings.CutSuffix(rest, ")")
		if !ok {
			return prior{}, fmt.Errorf("expected %s(%s), got %q", name, form.arguments, text)
		}
		if strings.TrimSpace(rest) != "" {
			fields = strings.Split(rest, ",")
		}
	}
	if len(fields) != form.count {
		return prior{}, fmt.Errorf("expected %s(%s), got %q", name, form.arguments, text)
	}
	arguments := make([]float64, len(fields))
	for i, f := range fields {
		v, err := number(strings.TrimSpace(f), data)
		if err != nil {
			return prior{}, fmt.Errorf("%q: %w", text, err)
		}
		arguments[i] = v
	}
	for _, i := range form.positive {
		if !(arguments[i] > 0) {
			return prior{}, fmt.Errorf("%q: expected %s above 0, got %v", text, strings.Split(form.arguments, ", ")[i], arguments[i])
		}
	}
	return form.make(arguments), nil
}

func number(text string, data Data) (float64, error) {
	if v, ok := data[text]; ok {
		if v.Rows != 0 {
			return 0, fmt.Errorf("expected %q to be one number in the data", text)
		}
		return v.Values[0], nil
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		return 0, fmt.Errorf("expected a number or the name of one in the data, got %q", text)
	}
	return v, nil
}

// A parameter is one real coordinate with a prior. A positive one is sampled as
// its logarithm.
type parameter struct {
	name     string
	prior    prior
	positive bool
}

// value returns the parameter at coordinate u.
func (p parameter) value(u float64) float64 {
	if p.positive {
		return math.Exp(u)
	}
	return u
}

// energy returns the energy of the prior at coordinate u and the slope in u, given
// the slope of the remaining energy in the parameter itself.
func (p parameter) energy(u, slope float64) (e, slopeU float64) {
	x := p.value(u)
	e, s := p.prior.energy(x)
	if !p.positive {
		return e, s + slope
	}
	return e, (s + slope) * x // dx/du = x
}
