package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/kelvin-ml/kelvin/dataset"
	"github.com/kelvin-ml/kelvin/sampler"
	"github.com/kelvin-ml/kelvin/thermo"
	"github.com/spf13/cobra"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

type capacityFlags struct {
	data, arch, loss, temperatures, plot string
	prior                                float64
	chains, warmup, draws                int
	seed                                 uint64
	asJSON                               bool
}

func newCapacityCommand() *cobra.Command {
	var f capacityFlags
	cmd := &cobra.Command{
		Use:   "capacity RUN|MODEL --data FILE --temperatures LOW:HIGH:N",
		Short: "Energy, heat capacity and entropy of a network against temperature",
		Long: `Samples the posterior exp(-E/T) of a network's parameters at N temperatures, E the
sum of the losses plus a normal prior, from the hottest to the coldest, and
reads the energy U, the heat capacity C = Var(E)/T² and the entropy. C must
agree with dU/dT; its peaks are phase transitions.`,
		Example: "  kelvin capacity model.safetensors --arch 2-8-2:tanh --data moons.npz --temperatures 0.1:10:9 --plot c.svg",
		Args:    exactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return runCapacity(cmd, args[0], f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.data, "data", "", "data `file` (npz, npy, csv, idx)")
	flags.StringVar(&f.arch, "arch", "", "architecture of a MODEL: widths and activation, as in 64-128-10:relu, or a model.json")
	flags.StringVar(&f.loss, "loss", "", "loss of a MODEL: ce, mse or mae (default ce with class labels, mse with targets)")
	flags.StringVar(&f.temperatures, "temperatures", "0.1:10:9", "lowest, highest and number, spaced geometrically")
	flags.Float64Var(&f.prior, "prior", 1, "standard deviation of the normal prior of every parameter")
	flags.IntVar(&f.chains, "chains", 4, "chains, run in parallel")
	flags.IntVar(&f.warmup, "warmup", 200, "steps before the draws, at every temperature")
	flags.IntVar(&f.draws, "draws", 500, "steps after them, per chain")
	flags.StringVar(&f.plot, "plot", "", "draw C(T) to this `file` (.svg, .png, .pdf)")
	addHTMLFlag(cmd)
	flags.Uint64Var(&f.seed, "seed", 0, "seed of everything drawn")
	flags.BoolVar(&f.asJSON, "json", false, "print one JSON document")
	return cmd
}

// parseTemperatures reads "low:high:n".
func parseTemperatures(text string) ([]float64, error) {
	fields := strings.Split(text, ":")
	if len(fields) != 3 {
		return nil, usagef("--temperatures: expected LOW:HIGH:N, got %q", text)
	}
	low, errLow := strconv.ParseFloat(fields[0], 64)
	high, errHigh := strconv.ParseFloat(fields[1], 64)
	n, errN := strconv.Atoi(fields[2])
	if errors.Join(errLow, errHigh, errN) != nil || !(low > 0 && high > low) || math.IsInf(high, 0) || n < 2 || n > 1000 {
		return nil, usagef("--temperatures: expected 0 < LOW < HIGH and N from 2 to 1000, got %q", text)
	}
	temperatures := make([]float64, n)
	for i := range temperatures {
		temperatures[i] = low * math.Pow(high/low, float64(i)/float64(n-1))
	}
	return temperatures, nil
}

type capacityDocument struct {
	Schema    string           `json:"schema"`
	Model     string           `json:"model"`
	Seed      uint64           `json:"seed"`
	Chains    int              `json:"chains"`
	Warmup    int              `json:"warmup"`
	Draws     int              `json:"draws"`
	Prior     float64          `json:"prior"`
	Points    []capacityPoint  `json:"points"`
	Agreement capacityTest     `json:"agreement"`
	Peaks     []capacityPeak   `json:"peaks"`
	Findings  []thermo.Finding `json:"findings"`
	// Interrupted: the coldest temperatures are missing.
	Interrupted bool `json:"interrupted,omitempty"`
	parameters  int
}

type capacityPoint struct {
	Temperature float64        `json:"temperature"`
	Energy      thermo.Reading `json:"energy"`
	Capacity    thermo.Reading `json:"heat_capacity"`
	Slope       thermo.Reading `json:"slope"`
	Entropy     thermo.Reading `json:"entropy"`
	Virial      thermo.Reading `json:"virial"`
}

// capacityTest is whether C from the variance and from dU/dT agree.
type capacityTest struct {
	PValue *float64 `json:"p_value"`
}

type capacityPeak struct {
	Temperature float64        `json:"temperature"`
	StdErr      float64        `json:"stderr"`
	Capacity    thermo.Reading `json:"heat_capacity"`
}

func runCapacity(cmd *cobra.Command, path string, f capacityFlags) error {
	temperatures, err := parseTemperatures(f.temperatures)
	if err != nil {
		return err
	}
	switch {
	case f.data == "":
		return usagef("expected --data FILE with the examples of the network")
	case !(f.prior > 0) || math.IsInf(f.prior, 0):
		return usagef("--prior: expected a standard deviation above 0, got %v", f.prior)
	case f.chains < 1 || f.draws < 1 || f.warmup < 0:
		return usagef("expected --chains and --draws from 1 and --warmup from 0")
	}
	if ext := filepath.Ext(f.plot); f.plot != "" && ext != ".svg" && ext != ".png" && ext != ".pdf" {
		return usagef("--plot: expected a name that ends in .svg, .png or .pdf, got %q", f.plot)
	}
	set, err := dataset.Open(f.data)
	if err != nil {
		return err
	}
	network, err := openNetwork(path, set, &measureFlags{arch: f.arch, loss: f.loss})
	if err != nil {
		return err
	}
	whole, err := sampler.NewNetworkEnergy(network, set, f.prior)
	if err != nil {
		return err
	}
	density := func(int) (sampler.Density, error) { return sampler.NewNetworkEnergy(network, set, f.prior) }
	curve, err := sampler.HeatCapacity(cmd.Context(), density, sampler.NUTS{StepSize: 0.01, MaxDepth: 6}, temperatures,
		sampler.Options{Chains: f.chains, Warmup: f.warmup, Draws: f.draws, Seed: f.seed,
			Progress: sampleProgress(cmd.ErrOrStderr(), len(temperatures)*f.chains*(f.warmup+f.draws))})
	if done := cmd.Context().Err(); done != nil && err != nil {
		points := 0
		if curve != nil {
			points = len(curve.Points)
		}
		err = fmt.Errorf("interrupted after %d of %d temperatures: %w", points, len(temperatures), done)
	}
	if curve == nil {
		return err
	}
	d := describeCapacity(curve)
	d.Interrupted = err != nil
	d.Model, d.Seed, d.Chains, d.Warmup, d.Draws, d.Prior, d.parameters = path, f.seed, f.chains, f.warmup, f.draws, f.prior, whole.Dim()
	err = errors.Join(err, writePage(cmd, d.page))
	if f.plot != "" {
		err = errors.Join(err, d.plot(f.plot))
	}
	if f.asJSON {
		return errors.Join(printJSON(cmd.OutOrStdout(), d), err)
	}
	return errors.Join(d.print(cmd.OutOrStdout()), err)
}

// maxCurveDisagreement is the p-value below which C and dU/dT are said to
// differ.
const maxCurveDisagreement = 0.001

// fewEnergies is the effective sample size of energies below which errors are not
// to be trusted.
const fewEnergies = 50

func fewDraws(temperature float64, r thermo.Reading) thermo.Finding {
	return thermo.Finding{ID: "few-draws", Severity: thermo.Warning,
		What:     fmt.Sprintf("at T = %.4g: too few independent energies for the error bars to be trusted", temperature),
		Evidence: fmt.Sprintf("effective sample size %.0f of the %s (below %d)", r.ESS, r.Name, fewEnergies), Change: "draw more"}
}

func describeCapacity(c *sampler.CapacityCurve) capacityDocument {
	d := capacityDocument{Schema: schema, Agreement: capacityTest{defined(c.PValue)}, Peaks: []capacityPeak{}, Findings: []thermo.Finding{}}
	for _, p := range c.Points {
		d.Points = append(d.Points, capacityPoint{p.Temperature, p.Energy, p.Capacity, p.Slope, p.Entropy, p.Virial})
		for _, f := range p.Findings {
			f.What = fmt.Sprintf("at T = %.4g: %s", p.Temperature, f.What)
			// Single parameters of a network mix slowly between equivalent solutions,
			// and short trajectories cost time alone; the energy is what counts here.
			if f.ID != "few-draws" && f.ID != "not-mixed" && f.ID != "shallow-trees" {
				d.Findings = append(d.Findings, f)
			}
		}
		if !p.Capacity.Valid() || p.Capacity.ESS < fewEnergies {
			d.Findings = append(d.Findings, fewDraws(p.Temperature, p.Capacity))
		}
	}
	for _, p := range c.Peaks {
		d.Peaks = append(d.Peaks, capacityPeak{p.Temperature, p.StdErr, p.Capacity})
	}
	if c.PValue < maxCurveDisagreement {
		d.Findings = append(d.Findings, thermo.Finding{ID: "capacity-disagrees", Severity: thermo.Critical,
			What: "heat capacity from the fluctuations and from dU/dT differ", Evidence: fmt.Sprintf("p = %.2g", c.PValue),
			Change: "use more temperatures, and more draws: the chains are not in equilibrium, or C bends between the temperatures"})
	}
	return d
}

func (d capacityDocument) print(w io.Writer) error {
	fmt.Fprintf(w, "%d parameters, prior normal(0, %g): %d chains × %d draws at each temperature, seed %d\n\n", d.parameters, d.Prior, d.Chains, d.Draws, d.Seed)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "T\tenergy\theat capacity\tdU/dT\tentropy\tvirial T\t")
	refused := false
	for _, p := range d.Points {
		fmt.Fprintf(t, "%.4g\t", p.Temperature)
		for _, r := range []thermo.Reading{p.Energy, p.Capacity, p.Slope, p.Entropy, p.Virial} {
			fmt.Fprintf(t, "%s\t", cell(r))
			refused = refused || !r.Valid()
		}
		fmt.Fprintln(t)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if refused {
		fmt.Fprint(w, "\nin parentheses, or -: not valid\n")
	}
	if d.Agreement.PValue != nil {
		fmt.Fprintf(w, "\nheat capacity from fluctuations and from dU/dT: p = %.2g\n", *d.Agreement.PValue)
	}
	for _, p := range d.Peaks {
		fmt.Fprintf(w, "peak at T = %s: heat capacity %v\n", thermo.FormatError(p.Temperature, p.StdErr), p.Capacity)
	}
	return printFindings(w, d.Findings)
}

// plot draws both readings of the heat capacity against temperature.
func (d capacityDocument) plot(path string) error {
	p := plot.New()
	p.X.Label.Text, p.Y.Label.Text = "temperature (energy/nat)", "heat capacity (nat)"
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	p.Legend.Top = true
	for i, curve := range []struct {
		name string
		of   func(capacityPoint) thermo.Reading
	}{
		{"from the variance", func(p capacityPoint) thermo.Reading { return p.Capacity }},
		{"dU/dT", func(p capacityPoint) thermo.Reading { return p.Slope }},
	} {
		var points struct {
			plotter.XYs
			plotter.YErrors
		}
		for _, at := range d.Points {
			r := curve.of(at)
			points.XYs = append(points.XYs, plotter.XY{X: at.Temperature, Y: r.Value})
			points.YErrors = append(points.YErrors, struct{ Low, High float64 }{r.StdErr, r.StdErr})
		}
		line, err := plotter.NewLine(points.XYs)
		if err != nil {
			return fmt.Errorf("writing %s: %w", path, err)
		}
		bars, err := plotter.NewYErrorBars(points)
		if err != nil {
			return fmt.Errorf("writing %s: %w", path, err)
		}
		if i > 0 {
			line.Dashes = []vg.Length{vg.Points(4), vg.Points(2)}
		}
		p.Add(line, bars)
		p.Legend.Add(curve.name, line)
	}
	if err := p.Save(14*vg.Centimeter, 9*vg.Centimeter, path); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}
