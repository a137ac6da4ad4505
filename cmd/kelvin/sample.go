package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"text/tabwriter"

	"github.com/kelvin-ml/kelvin/dataset"
	"github.com/kelvin-ml/kelvin/sampler"
	"github.com/kelvin-ml/kelvin/sampler/posterior"
	"github.com/kelvin-ml/kelvin/thermo"
	"github.com/spf13/cobra"
)

// sampleSettings decide what is drawn: a stored run continues only with the
// same ones.
type sampleSettings struct {
	Spec        posterior.Spec `json:"model"`
	Data        posterior.Data `json:"data"`
	Sampler     string         `json:"sampler"`
	Temperature float64        `json:"temperature"`
	Chains      int            `json:"chains"`
	Warmup      int            `json:"warmup"`
	Thin        int            `json:"thin"`
	Seed        uint64         `json:"seed"`
	Step        float64        `json:"step,omitempty"`
	Leapfrog    int            `json:"leapfrog,omitempty"`
	Friction    float64        `json:"friction,omitempty"`
	Dense       bool           `json:"dense,omitempty"`
	Hottest     float64        `json:"hottest,omitempty"`
	Rungs       int            `json:"rungs,omitempty"`
}

func newSampleCommand() *cobra.Command {
	var s sampleSettings
	var model, data, out, temperature string
	var f networkFlags
	var draws int
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "sample --model MODEL.json --data DATA.json | --net RUN|MODEL --data FILE",
		Short: "Draw from a posterior at a temperature, and check the draws",
		Long: `Draw from exp(-E/T), E the energy (-log posterior) of a model that a JSON file
describes: generalised linear models, hierarchical normal models, mixtures of
normals (docs/commands/sample.md). The draws are checked by R-hat, effective
sample sizes, divergences, and by thermometers: a sampler that runs at another
temperature than it was asked for is found out.

With --out the draws are stored, and the same command continues a run that was
interrupted, or asked for fewer draws, as if it had not stopped.

With --net it draws the parameters of a classifier at each temperature, E the
sum of the losses plus the prior, and scores the posterior predictive: the
cold-posterior curve.`,
		Example: "  kelvin sample --model schools.json --data schools-data.json\n" +
			"  kelvin sample --model schools.json --data schools-data.json --sampler sgld --step 0.01 --temperature 0.75 --json\n" +
			"  kelvin sample --net model.safetensors --arch 2-8-2:tanh --data train.npz --test test.npz --temperature 1,0.1,0.01",
		Args: exactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if (model == "") == (f.net == "") || data == "" {
				return usagef("expected --model MODEL.json and --data DATA.json, or --net RUN|MODEL and --data FILE")
			}
			temperatures, err := parseTemperatureList(temperature)
			if err != nil {
				return err
			}
			s.Temperature = slices.Min(temperatures)
			if err := s.check(draws); err != nil {
				return err
			}
			if f.net != "" {
				if out != "" || s.Hottest != 0 || s.Dense {
					return usagef("--out, --hottest and --dense do not go with --net")
				}
				f.data = data
				return runSampleNetwork(cmd, s, f, temperatures, draws, asJSON)
			}
			if len(temperatures) != 1 {
				return usagef("--temperature: expected one with --model, got %q", temperature)
			}
			if err := s.load(model, data); err != nil {
				return err
			}
			result, err := s.run(cmd.Context(), draws, out, cmd.ErrOrStderr())
			if result == nil {
				return err
			}
			if err != nil { // cancelled: what there is is still worth showing
				fmt.Fprintf(cmd.ErrOrStderr(), "kelvin: interrupted: %d of %d draws per chain\n", result.Chains[0].Moments.N, draws)
			}
			document := describeSample(result)
			document.Sampler = s.Sampler
			if asJSON {
				return errors.Join(printJSON(cmd.OutOrStdout(), document), err)
			}
			return errors.Join(document.print(cmd.OutOrStdout()), err)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&model, "model", "", "JSON file that describes the model")
	flags.StringVar(&data, "data", "", "JSON file with the data; with --net npz, npy, csv or idx")
	flags.StringVar(&s.Sampler, "sampler", "nuts", strings.Join(samplerNames, ", "))
	flags.StringVar(&temperature, "temperature", "1", "temperature T of exp(-E/T); 1 is the posterior itself; several with --net")
	flags.StringVar(&f.net, "net", "", "a network instead of --model: a run, or weights with --arch")
	flags.StringVar(&f.arch, "arch", "", "architecture of a --net that is weights alone, as in 64-128-10:relu")
	flags.StringVar(&f.test, "test", "", "examples to predict with --net (default: those of --data)")
	flags.StringVar(&f.prior, "prior", "normal:1", "prior of every parameter of --net")
	flags.IntVar(&f.batch, "batch", 0, "minibatches of this size with --net; for sgld, psgld, sghmc, sgnht")
	flags.IntVar(&s.Chains, "chains", 4, "chains, run in parallel")
	flags.IntVar(&s.Warmup, "warmup", 1000, "steps before the draws")
	flags.IntVar(&draws, "draws", 1000, "steps after them, per chain")
	flags.IntVar(&s.Thin, "thin", 1, "steps per draw that is kept")
	flags.Float64Var(&s.Step, "step", 0, "step size; needed by sgld, psgld, sghmc and sgnht, tuned by the warm-up of the others")
	flags.IntVar(&s.Leapfrog, "leapfrog", 10, "mean leapfrog steps of hmc")
	flags.Float64Var(&s.Friction, "friction", 1, "friction of sghmc, diffusion of sgnht")
	flags.BoolVar(&s.Dense, "dense", false, "tune a dense metric instead of a diagonal one (hmc, nuts)")
	flags.Float64Var(&s.Hottest, "hottest", 0, "parallel tempering up to this temperature")
	flags.IntVar(&s.Rungs, "rungs", 8, "temperatures of parallel tempering")
	flags.StringVar(&out, "out", "", "folder for the draws (draws.npz) and to continue from (state.json)")
	flags.Uint64Var(&s.Seed, "seed", 0, "seed of everything random")
	flags.BoolVar(&asJSON, "json", false, "print one JSON document")
	return cmd
}

var samplerNames = []string{"nuts", "hmc", "mala", "sgld", "psgld", "sghmc", "sgnht"}

func (s *sampleSettings) check(draws int) error {
	switch {
	case !slices.Contains(samplerNames, s.Sampler):
		return usagef("--sampler: expected one of %s, got %q", strings.Join(samplerNames, ", "), s.Sampler)
	case !(s.Temperature > 0) || math.IsInf(s.Temperature, 0):
		return usagef("--temperature: expected a number above 0, got %v", s.Temperature)
	case s.Chains < 1 || draws < 1 || s.Thin < 1 || s.Warmup < 0:
		return usagef("expected --chains, --draws and --thin from 1 and --warmup from 0")
	case s.Hottest != 0 && (!(s.Hottest > s.Temperature) || math.IsInf(s.Hottest, 0) || s.Rungs < 2):
		return usagef("expected --hottest above --temperature and --rungs from 2, got %v and %d", s.Hottest, s.Rungs)
	}
	if slices.Index(samplerNames, s.Sampler) >= 3 && !(s.Step > 0) {
		return usagef("--sampler %s: expected --step above 0; it has no test by which to tune it", s.Sampler)
	}
	if s.Step < 0 || s.Leapfrog < 1 || !(s.Friction > 0) {
		return usagef("expected --step, --leapfrog and --friction above 0")
	}
	if s.Hottest == 0 {
		s.Rungs = 0
	}
	return nil
}

func (s *sampleSettings) load(model, data string) error {
	text, err := readSmall(model)
	if err != nil {
		return err
	}
	if s.Spec, err = posterior.ParseSpec(text); err != nil {
		return fmt.Errorf("reading %s: %w", model, err)
	}
	if text, err = readSmall(data); err != nil {
		return err
	}
	if s.Data, err = posterior.ParseData(text); err != nil {
		return fmt.Errorf("reading %s: %w", data, err)
	}
	if _, err := posterior.New(s.Spec, s.Data); err != nil {
		return fmt.Errorf("reading %s with %s: %w", model, data, err)
	}
	return nil
}

// readSmall reads a file that is meant to be read whole.
func readSmall(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("expected a regular file")
	}
	var text []byte
	if err == nil {
		text, err = os.ReadFile(path)
	}
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return text, nil
}

func (s *sampleSettings) kernel() sampler.Kernel {
	step := s.Step
	if step == 0 {
		step = 0.1 // the warm-up tunes it
	}
	switch s.Sampler {
	case "hmc":
		return sampler.HMC{StepSize: step, Steps: s.Leapfrog}
	case "mala":
		return sampler.MALA{StepSize: step}
	case "sgld":
		return sampler.SGLD{StepSize: step}
	case "psgld":
		return sampler.PSGLD{StepSize: step, Decay: 0.99, Floor: 1e-5, Adapt: s.Warmup}
	case "sghmc":
		return sampler.SGHMC{StepSize: step, Friction: s.Friction}
	case "sgnht":
		return sampler.SGNHT{StepSize: step, Diffusion: s.Friction}
	}
	return sampler.NUTS{StepSize: step}
}

// sampleResult is a Result, with what parallel tempering adds or nil.
type sampleResult struct {
	*sampler.Result
	tempered *sampler.Tempered
}

// run draws, or continues what the folder out holds. A result comes with an
// error when the run was cancelled.
func (s *sampleSettings) run(ctx context.Context, draws int, out string, stderr io.Writer) (*sampleResult, error) {
	density := func(int) (sampler.Density, error) { return posterior.New(s.Spec, s.Data) }
	o := sampler.Options{Chains: s.Chains, Warmup: s.Warmup, Draws: draws, Thin: s.Thin, Temperature: s.Temperature,
		Seed: s.Seed, Dense: s.Dense, Curvature: true}
	o.Progress = sampleProgress(stderr, s.Chains*(s.Warmup+draws))
	if s.Hottest != 0 {
		t, err := sampler.RunTempered(ctx, density, s.kernel(), sampler.Ladder{Hottest: s.Hottest, Rungs: s.Rungs}, o)
		if t == nil {
			return nil, err
		}
		r := &sampleResult{t.Result, t}
		if out != "" {
			err = errors.Join(err, storeDraws(out, t.Result))
		}
		return r, err
	}
	if out == "" {
		r, err := sampler.Run(ctx, density, s.kernel(), o)
		if r == nil {
			return nil, err
		}
		return &sampleResult{Result: r}, err
	}
	return s.runStored(ctx, density, o, out)
}

// runStored is run with a state on disk that a later run continues. It is
// stored ten times during the draws, so a killed run loses a tenth.
func (s *sampleSettings) runStored(ctx context.Context, density func(int) (sampler.Density, error), o sampler.Options, out string) (*sampleResult, error) {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return nil, err
	}
	r, err := s.restore(out)
	if err != nil {
		return nil, err
	}
	total := o.Draws
	part := max((total/10+o.Thin-1)/o.Thin*o.Thin, o.Thin)
	if r == nil {
		o.Draws = min(part, total)
		if r, err = sampler.Run(ctx, density, s.kernel(), o); r == nil {
			return nil, err
		}
	}
	for {
		if stored := s.store(out, r); stored != nil {
			return nil, stored
		}
		drawn := r.Chains[0].Moments.N
		for _, c := range r.Chains {
			drawn = min(drawn, c.Moments.N)
		}
		if drawn >= total || err != nil {
			return &sampleResult{Result: r}, err
		}
		if err = sampler.Extend(ctx, r, density, min(drawn+part, total), o.Progress); err != nil && ctx.Err() == nil {
			return nil, err
		}
	}
}

type sampleState struct {
	Schema   string          `json:"schema"`
	Settings json.RawMessage `json:"settings"`
	Result   *sampler.Result `json:"result"`
}

// restore returns the stored run of the same settings, or nil if there is none.
func (s *sampleSettings) restore(out string) (*sampler.Result, error) {
	path := filepath.Join(out, "state.json")
	text, err := readSmall(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var state sampleState
	if err := json.Unmarshal(text, &state); err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	settings, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	if state.Schema != schema || state.Result == nil || !bytes.Equal(state.Settings, settings) {
		return nil, fmt.Errorf("reading %s: it holds a run of another model, data or options; use another --out", path)
	}
	return state.Result, nil
}

func (s *sampleSettings) store(out string, r *sampler.Result) error {
	settings, err := json.Marshal(s)
	if err != nil {
		return err
	}
	text, err := json.Marshal(sampleState{schema, settings, r})
	if err != nil {
		return fmt.Errorf("storing the state: %w", err)
	}
	f, err := os.CreateTemp(out, ".state.json.*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails, as it should, once renamed
	_, err = f.Write(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return errors.Join(os.Rename(f.Name(), filepath.Join(out, "state.json")), storeDraws(out, r))
}

// storeDraws writes one array per quantity, chains × draws.
func storeDraws(out string, r *sampler.Result) error {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	var arrays []dataset.Array
	for i, name := range r.Names {
		chains := r.Chain(i)
		arrays = append(arrays, dataset.Array{Name: name, Shape: []int{len(chains), len(chains[0])}, Data: slices.Concat(chains...)})
	}
	return dataset.WriteArrays(filepath.Join(out, "draws.npz"), arrays)
}

// sampleProgress adapts progress to chains that report what they did since the
// last time, side by side.
func sampleProgress(w io.Writer, steps int) func(int) {
	var done atomic.Int64
	show := progress(w, "sampling")
	var drawing sync.Mutex
	return func(n int) {
		at := int(done.Add(int64(n)))
		drawing.Lock()
		defer drawing.Unlock()
		show(min(at, steps), steps)
	}
}

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
	Thermometers []thermo.Reading  `json:"thermometers"`
	ZerothLaw    thermo.Zeroth     `json:"zeroth_law"`
	Acceptance   float64           `json:"acceptance"`
	Divergences  int               `json:"divergences"`
	BFMI         []*float64        `json:"bfmi,omitempty"`
	StepSizes    []float64         `json:"step_sizes"`
	Tempering    *temperingSummary `json:"tempering,omitempty"`
	Findings     []thermo.Finding  `json:"findings"`
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

type temperingSummary struct {
	Temperatures []float64 `json:"temperatures"`
	SwapRates    []float64 `json:"swap_rates"`
	Barrier      float64   `json:"barrier"`
	RoundTrips   int       `json:"round_trips"`
	MeanEnergy   []float64 `json:"energy"`
	HeatCapacity []float64 `json:"heat_capacity"`
}

func describeSample(r *sampleResult) sampleDocument {
	d := sampleDocument{Schema: schema, Seed: r.Seed, Chains: len(r.Chains), Warmup: r.Warmup, Thin: r.Thin,
		Draws: r.Chains[0].Moments.N, Temperature: r.Temperature, Energy: r.Energy(), HeatCapacity: r.HeatCapacity(),
		Thermometers: r.Thermometers(), ZerothLaw: r.ZerothLaw(), Findings: r.Findings()}
	for _, s := range r.Summaries() {
		d.Parameters = append(d.Parameters, sampleParameter{s.Name, s.Mean, defined(s.SD), defined(s.MCSE),
			defined(s.ESSBulk), defined(s.ESSTail), defined(s.RHat)})
	}
	for _, c := range r.Chains {
		d.Draws = min(d.Draws, c.Moments.N)
		d.Acceptance += c.Acceptance / float64(len(r.Chains))
		d.Divergences += c.Divergences
		d.StepSizes = append(d.StepSizes, c.StepSize())
		if c.State.Momentum != nil {
			d.BFMI = append(d.BFMI, defined(c.BFMI()))
		}
	}
	if t := r.tempered; t != nil {
		d.Tempering = &temperingSummary{t.Temperatures, t.SwapRates, t.Barrier, t.RoundTrips, t.MeanEnergy, nil}
		for i, v := range t.VarEnergy {
			d.Tempering.HeatCapacity = append(d.Tempering.HeatCapacity, v/(t.Temperatures[i]*t.Temperatures[i]))
		}
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
		stderr := math.NaN()
		if p.MCSE != nil {
			stderr = *p.MCSE
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t\n", p.Name, thermo.FormatError(p.Mean, stderr),
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
		fmt.Fprintf(t, "swap rates\t%.2f\n", p.SwapRates)
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
