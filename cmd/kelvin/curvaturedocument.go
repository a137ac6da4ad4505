package main

import (
	"fmt"
	"io"
	"math"
	"text/tabwriter"

	"github.com/kelvin-ml/kelvin/curvature"
	"github.com/kelvin-ml/kelvin/thermo"
)

// curvatureDocument is what kelvin curvature prints.
type curvatureDocument struct {
	Schema          string                 `json:"schema"`
	Model           string                 `json:"model"`
	Data            string                 `json:"data"`
	Seed            uint64                 `json:"seed"`
	Matrix          string                 `json:"matrix"`
	Of              string                 `json:"of"` // "data" or "population"
	Examples        int                    `json:"examples"`
	Parameters      int                    `json:"parameters"`
	Regulariser     float64                `json:"regulariser"` // included in the energy and the matrix
	Energy          float64                `json:"energy"`
	GradientNorm2   float64                `json:"gradient_norm2"`
	Trace           *thermo.Reading        `json:"trace"`
	Method          string                 `json:"method"` // of the trace
	Probes          int                    `json:"probes"`
	Top             []curvature.Eigenvalue `json:"top"`
	Bottom          []curvature.Eigenvalue `json:"bottom"`
	TopPopulation   []thermo.Reading       `json:"top_population,omitempty"`
	Converged       bool                   `json:"converged"` // all eigenvalues to their tolerance
	Density         []curvature.Point      `json:"density"`
	DensityWidth    float64                `json:"density_width,omitempty"`
	Layers          []curvatureLayer       `json:"layers"`
	Configurational *thermo.Reading        `json:"configurational"`
	Edge            *curvatureEdge         `json:"edge"` // null when the optimiser is not sgd or not known
	Noise           *thermo.Reading        `json:"noise_temperature,omitempty"`
	Temperature     *float64               `json:"temperature,omitempty"`
	Basin           *curvatureBasin        `json:"basin,omitempty"`
	Interrupted     bool                   `json:"interrupted,omitempty"`
	noEdge          string
}

type curvatureLayer struct {
	Name            string          `json:"name"`
	Parameters      int             `json:"parameters"`
	Trace           thermo.Reading  `json:"trace"`
	Configurational *thermo.Reading `json:"configurational,omitempty"`
}

type curvatureEdge struct {
	Sharpness float64  `json:"sharpness"` // the largest eigenvalue
	Threshold float64  `json:"threshold"` // 2(1+μ)/η
	Ratio     float64  `json:"ratio"`
	SGD       sgdNoise `json:"sgd"`
}

// curvatureBasin is the Gaussian about the weights at the temperature.
type curvatureBasin struct {
	Width      thermo.Reading `json:"width"` // −½ Σ ln λ
	Entropy    thermo.Reading `json:"entropy"`
	FreeEnergy thermo.Reading `json:"free_energy"`
	Flat       thermo.Reading `json:"flat"`
	Negative   thermo.Reading `json:"negative"`
}

func newCurvatureDocument(path string, f curvatureFlags, l *landscape) *curvatureDocument {
	d := &curvatureDocument{Schema: schema, Model: path, Data: f.data, Seed: f.seed, Matrix: f.matrix, Of: "data",
		Examples: l.examples, Parameters: len(l.network.Params), Regulariser: l.network.Spec.WeightDecay,
		Density: []curvature.Point{}, Layers: []curvatureLayer{}, noEdge: l.why}
	if f.population {
		d.Of = "population"
	}
	if f.temperature > 0 {
		d.Temperature = &f.temperature
	}
	return d
}

func (d *curvatureDocument) look(s curvature.State, l *landscape) {
	d.Energy = s.Energy
	for _, g := range s.GradientNorm2 {
		d.GradientNorm2 += g
	}
	if l.sgd == nil || l.sgd.Batch == 0 {
		return
	}
	noise, err := s.NoiseTemperature(l.sgd.LearningRate, l.sgd.Momentum, l.sgd.Batch, d.Parameters)
	if err != nil {
		return // a run that never trained has no such temperature
	}
	d.Noise = &noise
	if d.Temperature == nil && noise.Value > 0 && d.Regulariser > 0 {
		d.Temperature = &noise.Value
	}
}

func (d *curvatureDocument) eigenvalues(f curvatureFlags, k *curvature.Krylov, l *landscape) {
	d.Top, d.Bottom, d.Converged = k.Top(f.top), k.Bottom(f.bottom), k.Converged
	if l.sgd != nil {
		threshold := 2 * (1 + l.sgd.Momentum) / l.sgd.LearningRate
		d.Edge = &curvatureEdge{d.Top[0].Value, threshold, d.Top[0].Value / threshold, *l.sgd}
	}
}

func (d *curvatureDocument) traces(r curvature.TraceResult, method string, groups []thermo.Group) {
	if len(r.Layers) != len(groups) {
		return // it failed
	}
	d.Trace, d.Method, d.Probes = &r.Whole, method, r.Probes
	for i, g := range groups {
		d.Layers = append(d.Layers, curvatureLayer{Name: g.Name, Parameters: g.Size, Trace: r.Layers[i]})
	}
}

// configurational reads |∇E|²/tr H at this one draw.
func (d *curvatureDocument) configurational(s curvature.State, r curvature.TraceResult, groups []thermo.Group) {
	gradient := thermo.Reading{Name: "squared gradient", Value: d.GradientNorm2}
	t := thermo.ConfigurationalOf(gradient, r.Whole)
	d.Configurational = &t
	for i := range groups {
		gradient.Value, gradient.Group = s.GradientNorm2[i], groups[i].Name
		t := thermo.ConfigurationalOf(gradient, r.Layers[i])
		d.Layers[i].Configurational = &t
	}
}

func (d *curvatureDocument) spread(q *curvature.Quadrature, f curvatureFlags) {
	if f.density > 0 {
		d.Density, d.DensityWidth = q.Density(201)
	}
}

func (d *curvatureDocument) basin(q *curvature.Quadrature, s curvature.State, l *landscape) error {
	if d.Temperature == nil {
		return nil
	}
	b, err := curvature.NewBasin(q, thermo.Reading{Name: "energy", Value: s.Energy, Unit: "energy"}, l.network.Spec.WeightDecay)
	if err != nil {
		return err
	}
	entropy, free := b.At(*d.Temperature)
	d.Basin = &curvatureBasin{b.Width, entropy, free, b.Flat, b.Negative}
	return nil
}

func (d *curvatureDocument) print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	of := fmt.Sprintf("of these %d examples", d.Examples)
	if d.Of == "population" {
		of = fmt.Sprintf("of what %d examples were drawn from", d.Examples)
	}
	fmt.Fprintf(t, "%s\t%s; %d parameters, regulariser %g, seed %d\n", d.Matrix, of, d.Parameters, d.Regulariser, d.Seed)
	fmt.Fprintf(t, "energy\t%s, squared gradient %s\n", thermo.Format(d.Energy, 6), thermo.Format(d.GradientNorm2, 4))
	if d.Trace != nil {
		fmt.Fprintf(t, "trace\t%v (%s)\n", *d.Trace, d.methodText())
	}
	for i, e := range d.Top {
		line := eigenvalueText(e)
		if i < len(d.TopPopulation) {
			line += fmt.Sprintf("; population %v", d.TopPopulation[i])
		}
		fmt.Fprintf(t, "%s\t%s\n", first(i, "largest eigenvalues"), line)
	}
	for i, e := range d.Bottom {
		fmt.Fprintf(t, "%s\t%s\n", first(i, "smallest eigenvalues"), eigenvalueText(e))
	}
	d.printMeaning(t)
	if err := t.Flush(); err != nil {
		return err
	}
	if len(d.Layers) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	t = tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "layer\tparameters\ttrace (energy/θ²)\ttrace/parameter\tconfigurational (energy/nat)")
	for _, l := range d.Layers {
		fmt.Fprintf(t, "%s\t%d\t%s\t%s\t", l.Name, l.Parameters, thermo.FormatError(l.Trace.Value, l.Trace.StdErr), thermo.Format(l.Trace.Value/float64(l.Parameters), 4))
		if l.Configurational != nil {
			fmt.Fprint(t, thermo.FormatError(l.Configurational.Value, l.Configurational.StdErr))
		}
		fmt.Fprintln(t)
	}
	return t.Flush()
}

func eigenvalueText(e curvature.Eigenvalue) string {
	return fmt.Sprintf("%s, residual %s", thermo.Format(e.Value, 6), thermo.Format(e.Residual, 2))
}

func first(i int, label string) string {
	if i == 0 {
		return label
	}
	return ""
}

func (d *curvatureDocument) methodText() string {
	switch {
	case d.Method == "exact" && d.Of == "data":
		return "exact"
	case d.Method == "exact":
		return "exact of every example"
	}
	return fmt.Sprintf("%s, %d probes", d.Method, d.Probes)
}

// printMeaning prints what follows from the curvature.
func (d *curvatureDocument) printMeaning(t io.Writer) {
	if !d.Converged {
		fmt.Fprintf(t, "warning\tnot all eigenvalues reached %g of the largest: see their residuals, or raise --steps\n", eigenvalueTolerance)
	}
	if d.Configurational != nil {
		fmt.Fprintf(t, "configurational temperature\t%v, of this one draw\n", *d.Configurational)
	}
	switch e := d.Edge; {
	case e == nil:
		fmt.Fprintf(t, "edge of stability\tnot known: %s\n", d.noEdge)
	default:
		fmt.Fprintf(t, "edge of stability\tsharpness %.4g of a threshold of %.4g = 2(1+%g)/%g: %s\n",
			e.Sharpness, e.Threshold, e.SGD.Momentum, e.SGD.LearningRate, e.text())
	}
	if d.Noise != nil {
		fmt.Fprintf(t, "temperature of sgd's noise\t%v\n", *d.Noise)
	}
	if b := d.Basin; b != nil {
		fmt.Fprintf(t, "basin at %s energy/nat\tentropy %v, free energy %v\n", thermo.Format(*d.Temperature, 4), b.Entropy, b.FreeEnergy)
		fmt.Fprintf(t, "\t%s flat directions, %s falling\n", countText(b.Flat), countText(b.Negative))
	}
	if n := len(d.Density); n > 0 {
		fmt.Fprintf(t, "density\t%d points from %s to %s, smoothed over %.3g: with --json\n", n, thermo.Format(d.Density[0].X, 4), thermo.Format(d.Density[n-1].X, 4), d.DensityWidth)
	}
}

// countText writes a number of directions, which is whole but for its error.
func countText(r thermo.Reading) string {
	if r.StdErr < 1 {
		return fmt.Sprintf("%.0f", r.Value)
	}
	return thermo.FormatError(math.Round(r.Value), math.Ceil(r.StdErr))
}

func (e *curvatureEdge) text() string {
	switch {
	case e.Ratio < 0.8:
		return "steps are stable"
	case e.Ratio <= 1.2:
		return "at the edge"
	}
	return "steps are unstable along it, unless noise holds them"
}
