package theory

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
)

// Loss names a loss function, as network specifications do.
type Loss string

// The losses with closed forms.
const (
	MSE          Loss = "mse" // ⟨(y − z)²⟩
	MAE          Loss = "mae" // ⟨|y − z|⟩
	CrossEntropy Loss = "ce"  // linear models: ⟨softplus(−yz)⟩ with the label sign(y)
)

// Init names how the parameters of a linear model are distributed about their
// means. All three have the same standard deviations.
type Init string

// The initialisations with closed forms.
const (
	InitNormal  Init = "normal"
	InitUniform Init = "uniform" // on mean ± sigma·√3
	InitMixed   Init = "mixed"   // coordinate 0 normal, all others uniform
)

// Losses and Inits list what [Linear.State] computes.
var (
	Losses = []Loss{MSE, MAE, CrossEntropy}
	Inits  = []Init{InitNormal, InitUniform, InitMixed}
)

// Linear is a linear model z = x·w on n examples, its k parameters w_j
// independent with mean Mean[j] and standard deviation Sigma[j]
// (docs/theory.md#t3).
type Linear struct {
	X     [][]float64 // n rows of k
	Y     []float64   // n
	Mean  []float64   // k
	Sigma []float64   // k, not negative
}

// maxLinearBytes bounds a file that ReadLinear reads.
const maxLinearBytes = 1 << 28

// ReadLinear reads a linear model as a JSON object with the fields "X", "y",
// "mean" and "sigma", as in [Linear]; it ignores other fields.
func ReadLinear(r io.Reader) (Linear, error) {
	var file struct {
		X     [][]number `json:"X"`
		Y     []number   `json:"y"`
		Mean  []number   `json:"mean"`
		Sigma []number   `json:"sigma"`
	}
	limited := &io.LimitedReader{R: r, N: maxLinearBytes}
	decoder := json.NewDecoder(limited)
	if err := decoder.Decode(&file); err != nil {
		switch {
		case limited.N == 0:
			return Linear{}, fmt.Errorf("expected at most %d bytes of JSON", maxLinearBytes)
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return Linear{}, errors.New("the JSON object is cut short or empty")
		}
		return Linear{}, fmt.Errorf("expected a JSON object with X, y, mean, sigma: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return Linear{}, fmt.Errorf("expected one JSON object, found more after byte %d", decoder.InputOffset())
	}
	m := Linear{X: make([][]float64, len(file.X)), Y: floats(file.Y), Mean: floats(file.Mean), Sigma: floats(file.Sigma)}
	for i, row := range file.X {
		m.X[i] = floats(row)
	}
	return m, m.Validate()
}

// number is a float64 for which null, which encoding/json would skip, is an error.
type number float64

// UnmarshalJSON accepts a finite JSON number only.
func (n *number) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		return errors.New("null where a number is expected")
	}
	return json.Unmarshal(data, (*float64)(n))
}

func floats(numbers []number) []float64 {
	out := make([]float64, len(numbers))
	for i, x := range numbers {
		out[i] = float64(x)
	}
	return out
}

// Validate reports the first thing that is wrong with the model.
func (m Linear) Validate() error {
	n, k := len(m.X), len(m.Mean)
	switch {
	case n == 0:
		return errors.New("field X: expected at least one row")
	case k == 0:
		return errors.New("mean: expected at least one parameter")
	case len(m.Y) != n:
		return fmt.Errorf("y: expected %d values, one for each row of X, got %d", n, len(m.Y))
	case len(m.Sigma) != k:
		return fmt.Errorf("sigma: expected %d values, one for each of mean, got %d", k, len(m.Sigma))
	}
	for i, row := range m.X {
		if len(row) != k {
			return fmt.Errorf("row X[%d]: expected %d values, one for each of mean, got %d", i, k, len(row))
		}
		if err := allFinite(fmt.Sprintf("X[%d]", i), row); err != nil {
			return err
		}
	}
	for j, s := range m.Sigma {
		if s < 0 {
			return fmt.Errorf("sigma[%d]: expected a standard deviation, not negative, got %g", j, s)
		}
	}
	return errors.Join(allFinite("y", m.Y), allFinite("mean", m.Mean), allFinite("sigma", m.Sigma))
}

func allFinite(name string, values []float64) error {
	for i, v := range values {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("%s[%d]: expected a finite number, got %v", name, i, v)
		}
	}
	return nil
}

// LinearState is the type I state of a linear model under one loss and
// initialisation.
type LinearState struct {
	Loss         Loss
	Init         Init
	Energy       float64   // U
	Temperature  float64   // T = Σ PerParameter/k
	PerParameter []float64 // T_j = ⟨(w_j − m_j)∂E/∂w_j⟩
	Error        float64   // bound of the numerical error of Energy and of k·Temperature
	Asymptotes   []Asymptote
}

// State computes energy and temperature of the model, exactly up to Error, and
// their asymptotes. It fails on a model that is not valid, on a cross entropy
// whose label is 0, and when a result is beyond float64.
func (m Linear) State(loss Loss, init Init) (LinearState, error) {
	if err := m.Validate(); err != nil {
		return LinearState{}, err
	}
	l, err := lossOf(loss)
	if err != nil {
		return LinearState{}, err
	}
	uniform, err := uniformCoordinates(init, len(m.Mean))
	if err != nil {
		return LinearState{}, err
	}
	examples, err := m.examples(loss, uniform)
	if err != nil {
		return LinearState{}, err
	}
	exact := average(examples, l.exact)
	state := LinearState{
		Loss: loss, Init: init,
		Energy: exact.energy, Temperature: mean(exact.heats), PerParameter: exact.heats, Error: exact.err,
	}
	if err := allFinite("energy and temperature", []float64{state.Energy, state.Temperature}); err != nil {
		return LinearState{}, fmt.Errorf("%s, %s: the result is beyond floating point: %w", loss, init, err)
	}
	state.Asymptotes = asymptotes(l, examples, state)
	return state, nil
}

func uniformCoordinates(init Init, k int) ([]bool, error) {
	uniform := make([]bool, k)
	switch init {
	case InitNormal:
	case InitUniform, InitMixed:
		for j := range uniform {
			uniform[j] = init == InitUniform || j > 0
		}
	default:
		return nil, fmt.Errorf("init %q: expected one of %v", init, Inits)
	}
	return uniform, nil
}

// An example is the random argument a of a loss f(a): mu + Σ_j scale[j]·ξ_j
// with ξ_j of variance 1, normal or uniform.
type example struct {
	mu       float64
	scale    []float64 // σ_j|x_j|
	uniform  []bool
	variance float64 // Σ scale²
}

// examples returns the argument of the loss for each row: y − z for MSE and
// MAE, −sign(y)z for the cross entropy.
func (m Linear) examples(loss Loss, uniform []bool) ([]example, error) {
	out := make([]example, len(m.X))
	for i, x := range m.X {
		e := example{scale: make([]float64, len(x)), uniform: uniform}
		center := 0.0
		for j, xj := range x {
			center += xj * m.Mean[j]
			e.scale[j] = math.Abs(xj) * m.Sigma[j]
			e.variance += e.scale[j] * e.scale[j]
		}
		e.mu = m.Y[i] - center
		if loss == CrossEntropy {
			if m.Y[i] == 0 {
				return nil, fmt.Errorf("y[%d] is 0: cross entropy takes its label from the sign of y", i)
			}
			e.mu = -center
			if m.Y[i] < 0 {
				e.mu = center
			}
		}
		if math.IsInf(e.variance, 0) || math.IsInf(e.mu, 0) || math.IsNaN(e.mu) {
			return nil, fmt.Errorf("row X[%d]: its product with mean and sigma is beyond floating point", i)
		}
		out[i] = e
	}
	return out, nil
}

// moments is the energy of an example, or of the average over examples, with
// the heats T_j = scale_j ∂energy/∂scale_j and a bound of the numerical error.
type moments struct {
	energy float64
	heats  []float64
	err    float64
}

func average(examples []example, of func(example) moments) moments {
	total := moments{heats: make([]float64, len(examples[0].scale))}
	n := float64(len(examples))
	for _, e := range examples {
		m := of(e)
		total.energy += m.energy / n
		total.err += m.err / n
		for j, heat := range m.heats {
			total.heats[j] += heat / n
		}
	}
	return total
}

func mean(xs []float64) float64 { return sum(xs) / float64(len(xs)) }
