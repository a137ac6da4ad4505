package main

import (
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"

	"github.com/kelvin-ml/kelvin/sampler"
	"github.com/kelvin-ml/kelvin/thermo"
)

// sampleDocument is what kelvin sample prints with --json.
type sampleDocument struct {
	Schema       string            `json:"schema"`
	Sampler      string            `json:"sampler"`
	Seed         uint64            `json:"seed"`
	Chains       int               `json:"chains"`
	Warmup       int               `json:"warmup"`
	Draws        int               `json:"draws"` // per chain
	Thin         int               `json:"thin"`
	Temperature  float64           `json:"temperature"`
	Parameters   []sampleParameter `json:"parameters"`
	Energy       thermo.Reading    `json:"energy"`
	HeatCapacity thermo.Reading    `json:"heat_capacity"`
	Histogram    sampler.Histogram `json:"energy_histogram"`
	Thermometers []thermo.Reading  `json:"thermometers"`
	ZerothLaw    thermo.Zeroth     `json:"zeroth_law"`
	Acceptance   float64           `json:"acceptance"`
	Divergences  int               `json:"divergences"`
	BFMI         []*float64        `json:"bfmi,omitempty"`
	StepSizes    []float64         `json:"step_sizes"`
	Tempering    *temperingSummary `json:"tempering,omitempty"`
	Findings     []thermo.Finding  `json:"findings"`
	Interrupted  bool              `json:"interrupted,omitempty"` // fewer draws than asked, and chains if some had none
}

// sampleParameter is a sampler.Summary whose undefined numbers are null.
type sampleParameter struct {
	Name    string   `json:"name"`
	Mean    float64  `json:"mean"`
	SD      *float64 `json:"sd"`
	MCSE    *float64 `json:"mcse"`
	ESSBulk *float64 `json:"ess_bulk"`
	ESSTail *float64 `json:"ess_tail"`
	RHat    *float64 `json:"rhat"`
}

// mean writes the mean with its error, if that is known.
func (p sampleParameter) mean() string {
	stderr := math.NaN()
	if p.MCSE != nil {
		stderr = *p.MCSE
	}
	return thermo.FormatError(p.Mean, stderr)
}

type temperingSummary struct {
	Temperatures []float64 `json:"temperatures"`
	SwapRates    []float64 `json:"swap_rates"`
	Barrier      float64   `json:"barrier"`
	RoundTrips   int       `json:"round_trips"`
	MeanEnergy   []float64 `json:"energy"`
	HeatCapacity []float64 `json:"heat_capacity"`

	SwapStdErr     []*float64 `json:"swap_rates_stderr"`
	SwapESS        []*float64 `json:"swap_rates_ess"`
	EnergyStdErr   []*float64 `json:"energy_stderr"`
	EnergyESS      []*float64 `json:"energy_ess"`
	CapacityStdErr []*float64 `json:"heat_capacity_stderr"`
	CapacityESS    []*float64 `json:"heat_capacity_ess"`
}

// columns returns the values of readings, their errors and effective sample sizes.
func columns(readings []thermo.Reading) (values []float64, stderrs, ess []*float64) {
	for _, r := range readings {
		values, stderrs, ess = append(values, r.Value), append(stderrs, defined(r.StdErr)), append(ess, defined(r.ESS))
	}
	return values, stderrs, ess
}

// withErrors writes values with their errors, where these are known.
func withErrors(values []float64, stderrs []*float64) []string {
	out := make([]string, len(values))
	for i, v := range values {
		stderr := math.NaN()
		if stderrs[i] != nil {
			stderr = *stderrs[i]
		}
		out[i] = thermo.FormatError(v, stderr)
	}
	return out
}

func describeSample(r *sampleResult) sampleDocument {
	d := sampleDocument{Schema: schema, Seed: r.Seed, Chains: len(r.Chains), Warmup: r.Warmup, Thin: r.Thin,
		Draws: fewestSteps(r.Result), Temperature: r.Temperature, Energy: r.Energy(), HeatCapacity: r.HeatCapacity(), Histogram: r.EnergyHistogram(),
		Thermometers: r.Thermometers(), ZerothLaw: r.ZerothLaw(), Findings: r.Findings()}
	for _, s := range r.Summaries() {
		d.Parameters = append(d.Parameters, sampleParameter{s.Name, s.Mean, defined(s.SD), defined(s.MCSE),
			defined(s.ESSBulk), defined(s.ESSTail), defined(s.RHat)})
	}
	for _, c := range r.Chains {
		d.Acceptance += c.Acceptance / float64(len(r.Chains))
		d.Divergences += c.Divergences
		d.StepSizes = append(d.StepSizes, c.StepSize())
		if c.State.Momentum != nil {
			d.BFMI = append(d.BFMI, defined(c.BFMI()))
		}
	}
	if t := r.tempered; t != nil {
		p := &temperingSummary{Temperatures: t.Temperatures, Barrier: t.Barrier, RoundTrips: t.RoundTrips}
		p.SwapRates, p.SwapStdErr, p.SwapESS = columns(t.Swaps)
		p.MeanEnergy, p.EnergyStdErr, p.EnergyESS = columns(t.Energies)
		p.HeatCapacity, p.CapacityStdErr, p.CapacityESS = columns(t.Capacities)
		d.Tempering = p
	}
	return d
}

// defined returns x for JSON: null unless it is finite.
func defined(x float64) *float64 {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return nil
	}
	return &x
}

func (d sampleDocument) print(w io.Writer) error {
	fmt.Fprintf(w, "%s at T = %g: %d chains × %d draws after %d steps of warm-up, seed %d\n\n", d.Sampler, d.Temperature, d.Chains, d.Draws, d.Warmup, d.Seed)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "parameter\tmean\tsd\tESS bulk\tESS tail\tR-hat\t")
	for _, p := range d.Parameters {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t\n", p.Name, p.mean(),
			orDash("%.4g", p.SD), orDash("%.0f", p.ESSBulk), orDash("%.0f", p.ESSTail), orDash("%.3f", p.RHat))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w)
	t = tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, reading := range append(d.Thermometers, d.Energy, d.HeatCapacity) {
		fmt.Fprintf(t, "%s\t%s\n", reading.Name, reading)
	}
	fmt.Fprintf(t, "zeroth law\t%s: %s\n", d.ZerothLaw.Verdict, d.ZerothLaw.Reason)
	fmt.Fprintf(t, "acceptance\t%.3f\n", d.Acceptance)
	if d.BFMI != nil {
		fmt.Fprintf(t, "divergences\t%d\n", d.Divergences)
	}
	if p := d.Tempering; p != nil {
		fmt.Fprintf(t, "temperatures\t%.4g\n", p.Temperatures)
		fmt.Fprintf(t, "swap rates\t%s\n", strings.Join(withErrors(p.SwapRates, p.SwapStdErr), ", "))
		fmt.Fprintf(t, "round trips\t%d (barrier %.2f)\n", p.RoundTrips, p.Barrier)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	return printFindings(w, d.Findings)
}

func printFindings(w io.Writer, findings []thermo.Finding) error {
	fmt.Fprintln(w)
	if len(findings) == 0 {
		_, err := fmt.Fprintln(w, "no findings: every check passed")
		return err
	}
	for _, f := range findings {
		place := ""
		if f.Group != "" {
			place = "layer " + f.Group + ": "
		}
		if _, err := fmt.Fprintf(w, "%s: %s%s\n  evidence: %s\n  change: %s\n", f.Severity, place, f.What, f.Evidence, f.Change); err != nil {
			return err
		}
	}
	return nil
}

func orDash(format string, x *float64) string {
	if x == nil {
		return "-"
	}
	return fmt.Sprintf(format, *x)
}
