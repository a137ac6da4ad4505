// Package posterior builds densities for package sampler from a description in
// JSON: generalised linear models, hierarchical normal models and mixtures of
// normals, with families, links and priors by name (docs/commands/sample.md).
//
// Parameters that must be positive are sampled as logarithms, ordered ones as
// logarithms of their differences, weights as log ratios; what is reported are
// the parameters themselves. Energies are −log of the posterior density of these,
// up to a constant, whatever is sampled.
package posterior

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
)

// A Spec describes a model.
type Spec struct {
	Model      string            `json:"model"`                // "glm", "hierarchical-normal", "mixture"
	Family     string            `json:"family,omitempty"`     // glm: "normal", "student", "bernoulli", "binomial", "poisson"
	Link       string            `json:"link,omitempty"`       // glm: "identity", "log", "logit", "probit"; default: the family's usual one
	Response   string            `json:"response"`             // name of the data that the model explains
	Predictors []string          `json:"predictors,omitempty"` // glm: names of vectors or matrices (a row an observation)
	Intercept  bool              `json:"intercept,omitempty"`  // glm: a constant term, named alpha
	Trials     string            `json:"trials,omitempty"`     // binomial: name of the numbers of trials
	Nu         float64           `json:"nu,omitempty"`         // student: degrees of freedom
	Scale      string            `json:"scale,omitempty"`      // hierarchical-normal: name of the known standard deviations
	Centred    bool              `json:"centred,omitempty"`    // hierarchical-normal: sample the group means themselves
	Components int               `json:"components,omitempty"` // mixture: number of normals
	Priors     map[string]string `json:"priors"`               // "normal(0, 2.5)" by the name of the parameter
}

// A Model is a density with the names of its parameters; it satisfies
// sampler.Transformed and sampler.Reporter. It is not safe for concurrent use:
// build one per chain.
type Model interface {
	Dim() int
	Energy(theta []float64) float64
	Gradient(theta, gradient []float64) float64
	LogVolume(theta, gradient []float64) float64
	Names() []string
	Report(theta, out []float64)

	proper(temperature float64) error
}

// Data are named numbers, vectors and matrices.
type Data map[string]Value

// A Value is a number (Rows 0), a vector (Cols 0) or a matrix, row-major.
type Value struct {
	Rows, Cols int
	Values     []float64
}

// ParseSpec reads a Spec from JSON; unknown fields are errors.
func ParseSpec(text []byte) (Spec, error) {
	var s Spec
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&s); err != nil {
		return s, fmt.Errorf("expected the JSON of a model: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return s, errors.New("expected one JSON document, got more")
	}
	return s, nil
}

// ParseData reads a JSON object of numbers, arrays and arrays of arrays. Other
// values (strings, objects) are left out; arrays of them are errors.
func ParseData(text []byte) (Data, error) {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(text, &raw); err != nil {
		return nil, fmt.Errorf("expected a JSON object of numbers and arrays: %w", err)
	}
	data := Data{}
	for _, name := range sortedKeys(raw) {
		var one *float64
		var vector []float64
		var matrix [][]float64
		switch {
		case json.Unmarshal(raw[name], &one) == nil && one != nil:
			data[name] = Value{Values: []float64{*one}}
		case bytes.Equal(raw[name], []byte("null")):
		case json.Unmarshal(raw[name], &vector) == nil:
			if len(vector) == 0 || bytes.Contains(raw[name], []byte("null")) {
				return nil, fmt.Errorf("%q: expected at least one number and no null", name)
			}
			data[name] = Value{Rows: len(vector), Values: vector}
		case json.Unmarshal(raw[name], &matrix) == nil:
			v := Value{Rows: len(matrix), Cols: len(matrix[0])}
			for i, row := range matrix {
				if len(row) != v.Cols || v.Cols == 0 {
					return nil, fmt.Errorf("%q: expected rows of %d numbers, got %d in row %d", name, v.Cols, len(row), i+1)
				}
				v.Values = append(v.Values, row...)
			}
			if bytes.Contains(raw[name], []byte("null")) {
				return nil, fmt.Errorf("%q: expected numbers, got null", name)
			}
			data[name] = v
		case bytes.ContainsAny(raw[name][:1], "[-0123456789"):
			err := json.Unmarshal(raw[name], &vector)
			if raw[name][0] != '[' {
				err = json.Unmarshal(raw[name], &one)
			}
			return nil, fmt.Errorf("%q: expected a number that float64 can hold, or an array or rows of them: %w", name, err)
		}
	}
	return data, nil
}

// Proper returns an error if the posterior of m to the power 1/T has no finite
// integral because its density has no bound where a standard deviation goes to 0.
// Other ways to have none, heavy tails at high T say, it does not look for.
func Proper(m Model, temperature float64) error { return m.proper(temperature) }

// vanishing is the error of a density that goes as x^{(power − peak)/T} as x goes
// to 0, in a volume that goes as x^volume dx.
func vanishing(name string, power, peak, volume, temperature float64) error {
	if need := peak - (volume+1)*temperature; !(power > need) {
		return fmt.Errorf("at T = %g the posterior to the power 1/T has no finite integral: its density grows too fast as %s goes to 0; expected a temperature above %.4g, or a prior of %s that vanishes faster there than %s^%.4g, as gamma(%.4g, rate) would",
			temperature, name, (peak-power)/(volume+1), name, name, need, math.Floor(need+1)+1)
	}
	return nil
}

// New builds the model of s for the data.
func New(s Spec, data Data) (Model, error) {
	builders := map[string]func(Spec, Data) (Model, error){
		"glm": newGLM, "hierarchical-normal": newHierarchical, "mixture": newMixture,
	}
	build, ok := builders[s.Model]
	if !ok {
		return nil, fmt.Errorf("model: expected one of %s, got %q", strings.Join(sortedKeys(builders), ", "), s.Model)
	}
	return build(s, data)
}

// vector returns the named vector of the data; n is its expected length, or 0.
func (d Data) vector(field, name string, n int) ([]float64, error) {
	v, ok := d[name]
	if !ok {
		return nil, fmt.Errorf("%s: expected the name of a vector in the data (%s), got %q", field, strings.Join(sortedKeys(d), ", "), name)
	}
	if v.Rows == 0 || v.Cols != 0 {
		return nil, fmt.Errorf("%s: expected %q to be a vector of at least one number", field, name)
	}
	if n > 0 && v.Rows != n {
		return nil, fmt.Errorf("%s: expected %q to have %d values as the response has, got %d", field, name, n, v.Rows)
	}
	return v.Values, nil
}

// parameters looks up the priors of the named parameters; positive tells which
// must be above zero. Priors of other names are errors: a misspelt one would be
// silently ignored.
func (s Spec) parameters(data Data, positive map[string]bool) (map[string]parameter, error) {
	for _, name := range sortedKeys(s.Priors) {
		if _, ok := positive[name]; !ok {
			return nil, fmt.Errorf("priors: expected priors for %s, got one for %q", strings.Join(sortedKeys(positive), ", "), name)
		}
	}
	out := map[string]parameter{}
	for name, above := range positive {
		text, ok := s.Priors[name]
		if !ok {
			return nil, fmt.Errorf("priors: expected a prior for %q (\"flat\" is one)", name)
		}
		p, err := parsePrior(text, data)
		if err != nil {
			return nil, fmt.Errorf("priors: %s: %w", name, err)
		}
		if p.positive && !above {
			return nil, fmt.Errorf("priors: %s: %q is for positive parameters only", name, text)
		}
		out[name] = parameter{name, p, above}
	}
	return out, nil
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func indexed(name string, i int) string { return fmt.Sprintf("%s[%d]", name, i+1) }

// softplus is log(1 + eˣ), without overflow.
func softplus(x float64) float64 {
	return max(x, 0) + math.Log1p(math.Exp(-math.Abs(x)))
}

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }
