package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/kelvin-ml/kelvin/report"
	"github.com/kelvin-ml/kelvin/sampler"
	"github.com/kelvin-ml/kelvin/sampler/posterior"
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
	Acceptance  float64        `json:"acceptance,omitempty"`
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

With --net it draws the parameters of a classifier at each temperature, E the
sum of the losses plus the prior, and scores the posterior predictive: the
cold-posterior curve.

With --out the draws are stored, and the same command continues a run that was
interrupted, or asked for fewer draws, as if it had not stopped.`,
		Example: "  kelvin sample --model schools.json --data schools-data.json\n" +
			"  kelvin sample --model schools.json --data schools-data.json --sampler sgld --step 0.01 --temperature 1.5 --json\n" +
			"  kelvin sample --net model.safetensors --arch 2-8-2:tanh --data train.npz --test test.npz --temperature 1,0.1,0.01 --html curve.html",
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
			if err := s.checkFlags(cmd.Flags().Changed, f.net != ""); err != nil {
				return err
			}
			if err := s.check(draws); err != nil {
				return err
			}
			if f.net != "" {
				f.data, f.out = data, out
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
			cancelled := err != nil && cmd.Context().Err() != nil
			if cancelled { // what there is is still worth showing
				if result.Result = result.Trimmed(); result.Result == nil {
					return fmt.Errorf("interrupted before there were draws: %w", err)
				}
			}
			document := describeSample(result)
			document.Sampler = s.Sampler
			if cancelled {
				document.Interrupted = true
				err = fmt.Errorf("interrupted after %d of %d draws per chain: %w", document.Draws, draws, err)
			}
			err = errors.Join(err, writePage(cmd, func() report.Page { return document.page(result, model) }))
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
	flags.IntVar(&s.Thin, "thin", 0, "steps per draw that is kept (default: as few as keep at most 10,000 draws and 128 MB a chain; with --batch about an epoch)")
	flags.Float64Var(&s.Step, "step", 0, "step size; needed by sgld, psgld, sghmc and sgnht, tuned by the warm-up of the others")
	flags.IntVar(&s.Leapfrog, "leapfrog", 10, "mean leapfrog steps of hmc")
	flags.Float64Var(&s.Friction, "friction", 1, "friction of sghmc, diffusion of sgnht")
	flags.Float64Var(&s.Acceptance, "acceptance", 0, "acceptance to tune the step to (default 0.8, for mala 0.574); higher: smaller steps, fewer divergences")
	flags.BoolVar(&s.Dense, "dense", false, "tune a dense metric instead of a diagonal one (hmc, nuts)")
	flags.Float64Var(&s.Hottest, "hottest", 0, "parallel tempering up to this temperature")
	flags.IntVar(&s.Rungs, "rungs", 8, "temperatures of parallel tempering")
	flags.StringVar(&out, "out", "", "folder for the draws (draws.npz) and to continue from (state.json); with --net one inside it per temperature")
	addHTMLFlag(cmd)
	flags.Uint64Var(&s.Seed, "seed", 0, "seed of everything random")
	flags.BoolVar(&asJSON, "json", false, "print one JSON document")
	return cmd
}

var samplerNames = []string{"nuts", "hmc", "mala", "sgld", "psgld", "sghmc", "sgnht"}

// checkFlags refuses options that would be ignored.
func (s *sampleSettings) checkFlags(given func(string) bool, network bool) error {
	for _, c := range []struct {
		flag, goes string
		fits       bool
	}{
		{"arch", "--net", network}, {"test", "--net", network}, {"prior", "--net", network}, {"batch", "--net", network},
		{"hottest", "--model", !network}, {"rungs", "--hottest", s.Hottest != 0}, {"dense", "--model", !network},
		{"dense", "--sampler nuts or hmc", s.Sampler == "nuts" || s.Sampler == "hmc"},
		{"leapfrog", "--sampler hmc", s.Sampler == "hmc"}, {"friction", "--sampler sghmc or sgnht", s.Sampler == "sghmc" || s.Sampler == "sgnht"},
	} {
		if given(c.flag) && !c.fits && slices.Contains(samplerNames, s.Sampler) {
			return usagef("--%s goes with %s only", c.flag, c.goes)
		}
	}
	return nil
}

func (s *sampleSettings) check(draws int) error {
	switch {
	case !slices.Contains(samplerNames, s.Sampler):
		return usagef("--sampler: expected one of %s, got %q", strings.Join(samplerNames, ", "), s.Sampler)
	case !(s.Temperature > 0) || math.IsInf(s.Temperature, 0):
		return usagef("--temperature: expected a number above 0, got %v", s.Temperature)
	case s.Chains < 1 || draws < 1 || s.Thin < 0 || s.Warmup < 0:
		return usagef("expected --chains and --draws from 1, --thin and --warmup from 0")
	case s.Thin > draws:
		return usagef("--thin: expected at most --draws, %d, got %d", draws, s.Thin)
	case s.Hottest != 0 && (!(s.Hottest > s.Temperature) || math.IsInf(s.Hottest, 0) || s.Rungs < 2):
		return usagef("expected --hottest above --temperature and --rungs from 2, got %v and %d", s.Hottest, s.Rungs)
	}
	if !s.exact() && !(s.Step > 0) {
		return usagef("--sampler %s: expected --step above 0; it has no test by which to tune it", s.Sampler)
	}
	if s.Step < 0 || s.Leapfrog < 1 || !(s.Friction > 0) {
		return usagef("expected --step, --leapfrog and --friction above 0")
	}
	if !(s.Acceptance >= 0 && s.Acceptance < 1) || s.Acceptance > 0 && !s.exact() {
		return usagef("--acceptance: expected a number between 0 and 1, and a sampler with an acceptance test (nuts, hmc, mala), got %v and %s", s.Acceptance, s.Sampler)
	}
	if s.Hottest == 0 {
		s.Rungs = 0
	}
	return nil
}

// exact reports whether the sampler has an acceptance test, and so no bias.
func (s *sampleSettings) exact() bool { return slices.Index(samplerNames, s.Sampler) < 3 }

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
	m, err := posterior.New(s.Spec, s.Data)
	if err == nil {
		err = posterior.Proper(m, s.Temperature)
	}
	if err != nil {
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
		Seed: s.Seed, Acceptance: s.Acceptance, Dense: s.Dense, Curvature: true}
	o.Progress = sampleProgress(stderr, s.Chains*(s.Warmup+draws))
	begin := func(density func(int) (sampler.Density, error), o sampler.Options) (*sampler.Result, error) {
		if s.Hottest == 0 {
			return sampler.Run(ctx, density, s.kernel(), o)
		}
		t, err := sampler.RunTempered(ctx, density, s.kernel(), sampler.Ladder{Hottest: s.Hottest, Rungs: s.Rungs}, o)
		if t == nil {
			return nil, err
		}
		return t.Result, err
	}
	if out == "" {
		r, err := begin(density, o)
		if r == nil {
			return nil, err
		}
		return &sampleResult{r, r.Tempered()}, err
	}
	settings, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	stored := sampleStore{out, s.Thin, stderr, settings, func(chain, _ int) (sampler.Density, error) { return density(chain) }, drawsByName}
	r, err := stored.run(ctx, begin, o)
	if r == nil {
		return nil, err
	}
	return &sampleResult{r, r.Tempered()}, err
}
