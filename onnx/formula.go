package onnx

import (
	"math"
	"slices"
	"strconv"

	"github.com/kelvin-ml/kelvin/nn"
	"github.com/kelvin-ml/kelvin/theory"
)

// A formula is what elementwise operators, and means over the last axis, make of
// one row of a layer's output. Exporters write one activation or normalisation
// in many ways; so a formula is recognised by its values, not by its form.
type formula struct {
	apply scalar // of the arguments, elementwise
	args  []*formula
	mean  bool      // of the argument, over the row
	value []float64 // of a constant: one number, or a row
	from  *tensor   // the constant
	node  *node     // that wrote it; nil for the variable and constants

	length int // operations, written out
}

// maxFormula is far above what exporters write, and keeps hostile files cheap.
const maxFormula = 500

// variable is the row itself.
var variable = &formula{}

// walk calls visit once with every part of the formula, arguments first.
func (f *formula) walk(visit func(*formula)) {
	seen := map[*formula]bool{}
	var walk func(f *formula)
	walk = func(f *formula) {
		if seen[f] {
			return
		}
		seen[f] = true
		for _, a := range f.args {
			walk(a)
		}
		visit(f)
	}
	walk(f)
}

// rowwise says that elements of a row depend on each other or on their place.
func (f *formula) rowwise() bool {
	found := false
	f.walk(func(g *formula) { found = found || g.mean || len(g.value) > 1 })
	return found
}

// at evaluates the formula for a row.
func (f *formula) at(x []float64) []float64 {
	values := map[*formula][]float64{}
	f.walk(func(g *formula) {
		switch {
		case g == variable:
			values[g] = x
		case g.value != nil:
			values[g] = g.value
		case g.mean:
			sum := 0.0
			for _, v := range values[g.args[0]] {
				sum += v
			}
			values[g] = []float64{sum / float64(len(values[g.args[0]]))}
		default:
			values[g] = g.elementwise(values)
		}
	})
	return values[f]
}

func (f *formula) elementwise(values map[*formula][]float64) []float64 {
	width := 1
	for _, a := range f.args {
		width = max(width, len(values[a]))
	}
	out, args := make([]float64, width), make([]float64, max(2, len(f.args)))
	for j := range out {
		for i, a := range f.args {
			if v := values[a]; len(v) == 1 {
				args[i] = v[0]
			} else {
				args[i] = v[j]
			}
		}
		out[j] = f.apply(args[:len(f.args)])
	}
	return out
}

// outside returns f as a formula of its part g, nil if it is not one of g alone.
func (f *formula) outside(g *formula) *formula {
	made := map[*formula]*formula{}
	f.walk(func(p *formula) {
		switch {
		case p == g:
			made[p] = variable
		case p.args == nil && p != variable:
			made[p] = p
		case p.args != nil:
			q := *p
			q.args = nil
			for _, a := range p.args {
				if made[a] == nil {
					return
				}
				q.args = append(q.args, made[a])
			}
			made[p] = &q
		}
	})
	return made[f]
}

// near says that two values agree as far as constants in float32 let them.
func near(a, b float64) bool { return math.Abs(a-b) <= 2e-6*(1+math.Abs(b)) }

// points are where scalar formulas are compared.
var points = func() (x []float64) {
	for i := -48; i <= 48; i++ {
		x = append(x, float64(i)/4+0.03)
	}
	return append(x, -1, -1e-3, 1e-3, 1, 30)
}()

// activation returns the name of the activation function that the formula is,
// "" if it is none.
func (f *formula) activation() string {
	y := f.at(points)
	if len(y) != len(points) {
		return ""
	}
	below := y[slices.Index(points, -1)]
	with := func(name string, parameter float64) string {
		return name + "(" + strconv.FormatFloat(parameter, 'g', -1, 32) + ")"
	}
	for _, name := range append(activationNames(), with("leaky_relu", -below), with("elu", below/math.Expm1(-1))) {
		a, err := theory.ActivationByName(name)
		if err != nil {
			continue
		}
		same := true
		for i, x := range points {
			same = same && near(y[i], a.Value(x))
		}
		if same {
			return name
		}
	}
	return ""
}

// factor returns c if the formula is c·x.
func (f *formula) factor() (float64, bool) {
	if f.rowwise() {
		return 0, false
	}
	y := f.at(points)
	for i, x := range points {
		if len(y) != len(points) || !(math.Abs(y[i]-y[len(y)-1]/30*x) <= 1e-6*math.Abs(y[i])) {
			return 0, false
		}
	}
	return y[len(y)-1] / 30, true
}

// norm returns the layernorm or rmsnorm of rows of the given width that the
// formula is, with its gain and bias (nil if there is none).
func (f *formula) norm(width int) (spec nn.LayerSpec, gain, bias *tensor, ok bool) {
	var epsilons, constants []*formula
	centered := 0
	f.walk(func(g *formula) {
		if len(g.value) == 1 && g.value[0] > 0 && g.value[0] < 0.1 {
			epsilons = append(epsilons, g)
		}
		if len(g.value) > 1 || width == 1 && g.value != nil {
			constants = append(constants, g)
		}
		if g.mean {
			centered++
		}
	})
	if centered == 0 || width < 2 {
		return spec, nil, nil, false
	}
	rows := [4][]float64{}
	values := [4][]float64{}
	for i := range rows {
		for j := range width {
			// Rows 0 and 1 differ in every element; row 2 is small, so that epsilon shows.
			x := 1.5 + math.Sin(1+1.7*float64(j)+float64(i/2))*(1+0.5*math.Cos(float64(j)))
			rows[i] = append(rows[i], []float64{x, 0.3 - x, 1e-3 * x, 40 * x}[i])
		}
		if values[i] = f.at(rows[i]); len(values[i]) != width {
			return spec, nil, nil, false
		}
	}
	for _, kind := range []string{"layernorm", "rmsnorm"} {
		for _, e := range epsilons {
			epsilon := e.value[0]
			w, b := affine(kind, epsilon, rows, values)
			if w == nil {
				continue
			}
			gain, bias = match(w, 1, constants), match(b, 0, constants)
			spec = nn.LayerSpec{Type: kind, Epsilon: shortest(epsilon)}
			return spec, gain, bias, kind == "layernorm" || bias == nil
		}
	}
	return spec, nil, nil, false
}

// shortest returns what was written as a float32 before it was widened.
func shortest(x float64) float64 {
	y, _ := strconv.ParseFloat(strconv.FormatFloat(x, 'g', -1, 32), 64)
	return y
}

// affine returns the w and b with which the values are w·x̂ + b of the
// standardised rows, nil if they are not.
func affine(kind string, epsilon float64, rows, values [4][]float64) (w, b []float64) {
	var xhat [4][]float64
	for i, row := range rows {
		xhat[i] = standardised(kind, epsilon, row)
	}
	for j := range rows[0] {
		slope := (values[0][j] - values[1][j]) / (xhat[0][j] - xhat[1][j])
		w, b = append(w, slope), append(b, values[0][j]-slope*xhat[0][j])
		for i := range rows {
			if !near(w[j]*xhat[i][j]+b[j], values[i][j]) {
				return nil, nil
			}
		}
	}
	return w, b
}

func standardised(kind string, epsilon float64, x []float64) []float64 {
	n := float64(len(x))
	mean, square := 0.0, 0.0
	if kind == "layernorm" {
		for _, v := range x {
			mean += v / n
		}
	}
	for _, v := range x {
		square += (v - mean) * (v - mean) / n
	}
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = (v - mean) / math.Sqrt(square+epsilon)
	}
	return out
}

// match returns the constant that the values are, or the values themselves; nil
// if all are neutral.
func match(values []float64, neutral float64, constants []*formula) *tensor {
	same := func(other func(i int) float64) bool {
		for i, v := range values {
			if !near(v, other(i)) {
				return false
			}
		}
		return true
	}
	for _, c := range constants {
		if len(c.value) == len(values) && same(func(i int) float64 { return c.value[i] }) {
			return c.from
		}
	}
	if same(func(int) float64 { return neutral }) {
		return nil
	}
	return &tensor{shape: []int{len(values)}, data: values, loaded: true}
}
