package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/kelvin-ml/kelvin/dataset"
	"github.com/kelvin-ml/kelvin/nn"
	"github.com/kelvin-ml/kelvin/sampler"
	"github.com/kelvin-ml/kelvin/thermo"
	"github.com/spf13/cobra"
)

// networkFlags are the flags of kelvin sample --net.
type networkFlags struct {
	net, arch, data, test, prior, out string
	batch                             int
}

// parseTemperatureList reads "1,0.1,0.01".
func parseTemperatureList(text string) ([]float64, error) {
	var temperatures []float64
	for _, field := range strings.Split(text, ",") {
		t, err := strconv.ParseFloat(strings.TrimSpace(field), 64)
		if err != nil || !(t > 0) || math.IsInf(t, 0) {
			return nil, usagef("--temperature: expected numbers above 0, separated by commas, got %q", field)
		}
		temperatures = append(temperatures, t)
	}
	return temperatures, nil
}

// parseNormalPrior reads "normal:1".
func parseNormalPrior(text string) (float64, error) {
	rest, ok := strings.CutPrefix(text, "normal:")
	sd, err := strconv.ParseFloat(rest, 64)
	if !ok || err != nil || !(sd > 0) || math.IsInf(sd, 0) {
		return 0, usagef("--prior: expected normal:SD with SD above 0, got %q", text)
	}
	return sd, nil
}

// networkDocument is what kelvin sample --net prints with --json.
type networkDocument struct {
	Schema   string         `json:"schema"`
	Model    string         `json:"model"`
	Sampler  string         `json:"sampler"`
	Seed     uint64         `json:"seed"`
	Prior    string         `json:"prior"`
	Chains   int            `json:"chains"`
	Warmup   int            `json:"warmup"`
	Draws    int            `json:"draws"`
	Examples int            `json:"examples"` // predicted
	Curve    []networkPoint `json:"curve"`
	// Interrupted: the last of the temperatures asked for are missing.
	Interrupted bool `json:"interrupted,omitempty"`
}

type networkPoint struct {
	Temperature   float64           `json:"temperature"`
	Draws         int               `json:"draws"` // per chain: more than asked for where more were stored
	LogLikelihood thermo.Reading    `json:"log_likelihood"`
	Accuracy      thermo.Reading    `json:"accuracy"`
	ECE           thermo.Reading    `json:"ece"`
	Likelihood    thermo.Reading    `json:"likelihood"`
	Reliability   []reliabilityBin  `json:"reliability"`
	Energy        thermo.Reading    `json:"energy"`
	Histogram     sampler.Histogram `json:"energy_histogram"`
	Thermometers  []thermo.Reading  `json:"thermometers"`
	ZerothLaw     thermo.Zeroth     `json:"zeroth_law"`
	Divergences   int               `json:"divergences"`
	Findings      []thermo.Finding  `json:"findings"`
}

type reliabilityBin struct {
	Low        float64 `json:"low"`
	High       float64 `json:"high"`
	Examples   int     `json:"examples"`
	Confidence float64 `json:"confidence"`
	Accuracy   float64 `json:"accuracy"`
}

func runSampleNetwork(cmd *cobra.Command, s sampleSettings, f networkFlags, temperatures []float64, draws int, asJSON bool) error {
	sd, err := parseNormalPrior(f.prior)
	if err != nil {
		return err
	}
	if f.batch < 0 || f.batch > 0 && s.exact() {
		return usagef("--batch: expected a size from 0, and above it a sampler without an acceptance test (sgld, psgld, sghmc, sgnht), got %d and %s", f.batch, s.Sampler)
	}
	set, err := dataset.Open(f.data)
	if err != nil {
		return err
	}
	test := set
	if f.test != "" {
		if test, err = dataset.Open(f.test); err != nil {
			return err
		}
	}
	network, err := openNetwork(f.net, set, &measureFlags{arch: f.arch})
	if err != nil {
		return err
	}
	if err := sampler.CheckPredict(network, test); err != nil { // not after hours of sampling
		if f.test != "" {
			err = fmt.Errorf("%s: %w", f.test, err)
		}
		return err
	}
	d := networkDocument{Schema: schema, Model: f.net, Sampler: s.Sampler, Seed: s.Seed, Prior: f.prior, Chains: s.Chains,
		Warmup: s.Warmup, Draws: draws, Examples: test.N}
	b := bayesianNetwork{network: network, set: set, test: test, prior: sd, batch: f.batch, kernel: s.networkKernel(), settings: s, out: f.out, stderr: cmd.ErrOrStderr(),
		options: sampler.Options{Chains: s.Chains, Warmup: s.Warmup, Draws: draws, Thin: s.Thin, Seed: s.Seed, Acceptance: s.Acceptance,
			Progress: sampleProgress(cmd.ErrOrStderr(), len(temperatures)*s.Chains*(s.Warmup+draws))}}
	if err = d.measure(cmd.Context(), temperatures, b.at); len(d.Curve) == 0 || err != nil && !d.Interrupted {
		return err
	}
	err = errors.Join(err, writePage(cmd, d.page))
	if asJSON {
		return errors.Join(printJSON(cmd.OutOrStdout(), d), err)
	}
	return errors.Join(d.print(cmd.OutOrStdout()), err)
}

// measure fills in the curve, up to a cancellation.
func (d *networkDocument) measure(ctx context.Context, temperatures []float64, sample func(ctx context.Context, t float64) (*networkPoint, error)) error {
	for _, t := range temperatures {
		point, err := sample(ctx, t)
		switch {
		case err != nil && ctx.Err() != nil:
			d.Interrupted = true
			return fmt.Errorf("interrupted after %d of %d temperatures: %w", len(d.Curve), len(temperatures), err)
		case err != nil:
			return fmt.Errorf("at T = %g: %w", t, err)
		}
		d.Curve = append(d.Curve, *point)
	}
	return nil
}

// networkKernel is kernel with shorter trajectories: those of a network turn
// late, and the first few doublings give most of what there is to gain.
func (s *sampleSettings) networkKernel() sampler.Kernel {
	if k, ok := s.kernel().(sampler.NUTS); ok {
		k.MaxDepth = 6
		if s.Step == 0 {
			k.StepSize = 0.01 // where the warm-up begins
		}
		return k
	}
	return s.kernel()
}

// A bayesianNetwork is what is sampled at every temperature.
type bayesianNetwork struct {
	network   *nn.Network[float32]
	set, test *dataset.Set
	prior     float64
	batch     int
	kernel    sampler.Kernel
	options   sampler.Options
	settings  sampleSettings
	out       string // folder to store in, or ""
	stderr    io.Writer
}

// density returns the energy as chain i sees it after so many steps.
func (b *bayesianNetwork) density(i, steps int) (sampler.Density, error) {
	d, err := sampler.NewNetworkEnergy(b.network, b.set, b.prior)
	if err != nil || b.batch == 0 {
		return d, err
	}
	if err := d.Minibatches(b.batch, rand.New(rand.NewPCG(b.options.Seed^0x6d696e69, uint64(i)))); err != nil {
		return nil, err
	}
	if steps > 0 {
		d.Skip(steps + 1) // one a step, and one to begin with
	}
	return d, nil
}

// draw runs the chains at the temperature of o, or continues those that are stored.
func (b *bayesianNetwork) draw(ctx context.Context, o sampler.Options) (*sampler.Result, error) {
	if b.out == "" {
		return sampler.Run(ctx, func(chain int) (sampler.Density, error) { return b.density(chain, 0) }, b.kernel, o)
	}
	settings, err := b.identity(o.Temperature)
	if err != nil {
		return nil, err
	}
	s := sampleStore{filepath.Join(b.out, fmt.Sprintf("T=%g", o.Temperature)), b.settings.Thin, b.stderr, settings, b.density,
		func(r *sampler.Result) []dataset.Array { return drawsByTensor(b.network.Groups, r) }}
	return s.run(ctx, func(density func(int) (sampler.Density, error), o sampler.Options) (*sampler.Result, error) {
		return sampler.Run(ctx, density, b.kernel, o)
	}, o)
}

// identity is JSON of all that decides what is drawn, weights and data by their
// SHA-256.
func (b *bayesianNetwork) identity(temperature float64) ([]byte, error) {
	digest := sha256.New()
	for _, part := range []any{b.network.Params, b.network.State, b.set.X, b.set.Y, b.set.Labels} {
		if err := binary.Write(digest, binary.LittleEndian, part); err != nil {
			return nil, err
		}
	}
	s := b.settings
	s.Temperature = temperature
	return json.Marshal(struct {
		sampleSettings
		Network nn.Spec `json:"network"`
		Digest  string  `json:"sha256"`
		Prior   float64 `json:"prior"`
		Batch   int     `json:"batch"`
	}{s, b.network.Spec, hex.EncodeToString(digest.Sum(nil)), b.prior, b.batch})
}

// at samples at one temperature and scores the predictions.
func (b *bayesianNetwork) at(ctx context.Context, temperature float64) (*networkPoint, error) {
	o := b.options
	o.Temperature = temperature
	weights := make([]float64, len(b.network.Params))
	for i, p := range b.network.Params {
		weights[i] = float64(p)
	}
	o.Start = func(int, *rand.Rand) []float64 { return weights }
	r, err := b.draw(ctx, o)
	if err != nil {
		return nil, err
	}
	p, err := sampler.Predict(r, b.network, b.test)
	if err != nil {
		return nil, err
	}
	point := &networkPoint{Temperature: o.Temperature, Draws: fewestSteps(r), LogLikelihood: p.LogLikelihood, Accuracy: p.Accuracy, ECE: p.ECE, Likelihood: p.Likelihood, Energy: r.Energy(), Histogram: r.EnergyHistogram(),
		Thermometers: r.Thermometers(), ZerothLaw: r.ZerothLaw(), Findings: []thermo.Finding{}}
	for _, b := range p.Bins {
		point.Reliability = append(point.Reliability, reliabilityBin{b.Low, b.High, b.Examples, b.Confidence, b.Accuracy})
	}
	for _, c := range r.Chains {
		point.Divergences += c.Divergences
	}
	for _, f := range r.Findings() {
		// Single weights move between equivalent solutions; the predictions count.
		if f.ID != "few-draws" && f.ID != "not-mixed" && f.ID != "shallow-trees" {
			f.What = fmt.Sprintf("at T = %.4g: %s", o.Temperature, f.What)
			point.Findings = append(point.Findings, f)
		}
	}
	if !point.Energy.Valid() || point.Energy.ESS < fewEnergies {
		point.Findings = append(point.Findings, fewDraws(o.Temperature, point.Energy))
	}
	return point, nil
}

func (d networkDocument) print(w io.Writer) error {
	fmt.Fprintf(w, "%s, prior %s: %d chains × %d draws at each temperature, %d examples predicted, seed %d\n\n", d.Sampler, d.Prior, d.Chains, d.Draws, d.Examples, d.Seed)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "T\tlog-likelihood\taccuracy\tcalibration error\tlikelihood T\tvirial T\tzeroth law\t")
	var findings []thermo.Finding
	for _, p := range d.Curve {
		fmt.Fprintf(t, "%.4g\t", p.Temperature)
		for _, r := range []thermo.Reading{p.LogLikelihood, p.Accuracy, p.ECE, p.Likelihood, p.Thermometers[0]} {
			fmt.Fprintf(t, "%s\t", thermo.FormatError(r.Value, r.StdErr))
		}
		fmt.Fprintf(t, "%s\t\n", p.ZerothLaw.Verdict)
		findings = append(findings, p.Findings...)
	}
	return errors.Join(t.Flush(), printFindings(w, findings))
}
