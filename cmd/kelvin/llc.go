package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"text/tabwriter"

	"github.com/kelvin-ml/kelvin/dataset"
	"github.com/kelvin-ml/kelvin/nn"
	"github.com/kelvin-ml/kelvin/sampler"
	"github.com/kelvin-ml/kelvin/thermo"
	"github.com/spf13/cobra"
)

type llcFlags struct {
	data, arch, loss      string
	beta, localisation    float64
	chains, warmup, draws int
	seed                  uint64
	perLayer, asJSON      bool
}

func newLLCCommand() *cobra.Command {
	var f llcFlags
	cmd := &cobra.Command{
		Use:   "llc RUN|MODEL --data FILE",
		Short: "Local learning coefficient of a trained network, with an error bar",
		Long: `Reads the local learning coefficient nβ(⟨L⟩ - L(w*)) at the weights of a trained
network: how many parameters, halved, the loss really constrains there. Chains
of NUTS sample exp(-nβL - γ|w - w*|²/2) with the gradient of all examples, so
there is no bias of a step size. As many of their first draws are left out as
leaves most independent ones. Thermometers check that the chains are in
equilibrium, and the reading is refused when they are not.`,
		Example: "  kelvin llc runs/digits --data digits.npz\n" +
			"  kelvin llc model.safetensors --arch 64-16-10:tanh --data digits.npz --layers --json",
		Args: exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return runLLC(cmd, args[0], f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.data, "data", "", "data `file` (npz, npy, csv, idx)")
	flags.StringVar(&f.arch, "arch", "", "architecture of a MODEL: widths and activation, as in 64-128-10:relu, or a model.json")
	flags.StringVar(&f.loss, "loss", "", "loss of a MODEL: ce, mse or mae (default ce with class labels, mse with targets)")
	flags.Float64Var(&f.beta, "beta", 0, "inverse temperature β (default 1/ln n)")
	flags.Float64Var(&f.localisation, "localisation", 1, "strength γ of the localising prior exp(-γ|w - w*|²/2)")
	flags.IntVar(&f.chains, "chains", 4, "chains, run in parallel")
	flags.IntVar(&f.warmup, "warmup", 200, "steps before the draws")
	flags.IntVar(&f.draws, "draws", 400, "steps after them, per chain")
	flags.BoolVar(&f.perLayer, "layers", false, "also read each layer, the others fixed")
	flags.Uint64Var(&f.seed, "seed", 0, "seed of everything drawn")
	addHTMLFlag(cmd)
	flags.BoolVar(&f.asJSON, "json", false, "print one JSON document")
	return cmd
}

func (f llcFlags) check() error {
	switch {
	case f.data == "":
		return usagef("expected --data FILE with the examples that the network was trained on")
	case f.beta < 0 || math.IsNaN(f.beta) || math.IsInf(f.beta, 0):
		return usagef("--beta: expected a number above 0, got %v", f.beta)
	case !(f.localisation > 0) || math.IsInf(f.localisation, 0):
		return usagef("--localisation: expected a number above 0, got %v", f.localisation)
	case f.chains < 1 || f.draws < 1 || f.warmup < 0:
		return usagef("expected --chains and --draws from 1 and --warmup from 0")
	}
	return nil
}

// llcDocument is what kelvin llc prints with --json.
type llcDocument struct {
	Schema       string           `json:"schema"`
	Model        string           `json:"model"`
	Seed         uint64           `json:"seed"`
	LLC          thermo.Reading   `json:"llc"`
	Beta         float64          `json:"beta"`
	Examples     int              `json:"n"`
	Parameters   int              `json:"parameters"`
	Localisation float64          `json:"localisation"`
	Chains       int              `json:"chains"`
	Warmup       int              `json:"warmup"`
	Draws        int              `json:"draws"`     // of each chain, the burn-in among them
	BurnIn       int              `json:"burn_in"`   // first draws that are left out
	Loss         float64          `json:"loss"`      // L(w*), mean over the examples
	MeanLoss     thermo.Reading   `json:"mean_loss"` // ⟨L⟩
	Layers       []llcLayer       `json:"layers"`
	Equilibrium  thermo.Zeroth    `json:"equilibrium"`
	Thermometers []thermo.Reading `json:"thermometers"`
	Findings     []thermo.Finding `json:"findings"`
	Interrupted  bool             `json:"interrupted,omitempty"` // fewer draws than asked, or layers missing

	chains *sampler.Result // without the burn-in
}

type llcLayer struct {
	Name       string         `json:"name"`
	Parameters int            `json:"parameters"`
	LLC        thermo.Reading `json:"llc"`
	BurnIn     int            `json:"burn_in"`
}

func runLLC(cmd *cobra.Command, path string, f llcFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	set, err := dataset.Open(f.data)
	if err != nil {
		return err
	}
	network, err := openNetwork(path, set, &measureFlags{arch: f.arch, loss: f.loss})
	if err != nil {
		return err
	}
	if f.beta == 0 {
		f.beta = 1 / math.Log(float64(max(set.N, 3)))
	}
	passes := 1
	if f.perLayer {
		passes += len(network.Groups)
	}
	show := sampleProgress(cmd.ErrOrStderr(), passes*f.chains*(f.warmup+f.draws))
	document, err := f.read(cmd.Context(), network, set, show)
	done := cmd.Context().Err()
	if document == nil {
		if done != nil {
			return fmt.Errorf("interrupted before there were draws to read: %w", done)
		}
		return err
	}
	document.Model = path
	if err != nil && done != nil {
		document.Interrupted = true
		err = fmt.Errorf("interrupted after %d of %d draws per chain and %d layers: %w", document.Draws, f.draws, len(document.Layers), done)
	}
	err = errors.Join(err, writePage(cmd, document.page))
	if f.asJSON {
		return errors.Join(printJSON(cmd.OutOrStdout(), document), err)
	}
	return errors.Join(document.print(cmd.OutOrStdout()), err)
}

// read samples the whole network and then each layer. A document comes with an
// error when it was cancelled on the way.
func (f llcFlags) read(ctx context.Context, network *nn.Network[float32], set *dataset.Set, show func(int)) (*llcDocument, error) {
	whole, err := sampler.NewNetworkEnergy(network, set, 0)
	if err != nil {
		return nil, err
	}
	theta := whole.Theta()
	o := sampler.LLCOptions{Localisation: f.localisation, Options: sampler.Options{Chains: f.chains, Warmup: f.warmup,
		Draws: f.draws, Temperature: 1 / f.beta, Seed: f.seed, Progress: show}}
	density := func(int) (sampler.Density, error) { return sampler.NewNetworkEnergy(network, set, 0) }
	kernel := sampler.NUTS{StepSize: 0.01, MaxDepth: 6}
	l, err := sampler.LearningCoefficient(ctx, density, kernel, theta, o)
	if l == nil {
		return nil, err
	}
	n := float64(set.N)
	d := &llcDocument{Schema: schema, Seed: f.seed, LLC: l.Value, Beta: l.Beta, Examples: set.N, Parameters: len(theta),
		Localisation: f.localisation, Chains: len(l.Chains.Chains), Warmup: f.warmup, Draws: l.BurnIn + len(l.Chains.Chain(0)[0]), BurnIn: l.BurnIn, Loss: l.Minimum / n,
		MeanLoss: l.Energy, chains: l.Chains, Layers: []llcLayer{}, Equilibrium: l.Zeroth, Thermometers: l.Chains.Thermometers(),
		Findings: llcFindings("", l)}
	d.MeanLoss.Name, d.MeanLoss.Value, d.MeanLoss.StdErr = "mean loss", l.Energy.Value/n, l.Energy.StdErr/n
	if !f.perLayer || err != nil {
		return d, err
	}
	for _, g := range network.Groups {
		layer := func(int) (sampler.Density, error) {
			e, err := sampler.NewNetworkEnergy(network, set, 0)
			if err != nil {
				return nil, err
			}
			return sampler.NewWindow(e, theta, g.Offset, g.Size)
		}
		l, err := sampler.LearningCoefficient(ctx, layer, kernel, theta[g.Offset:g.Offset+g.Size], o)
		if err != nil {
			return d, fmt.Errorf("layer %q: %w", g.Name, err)
		}
		l.Value.Group = g.Name
		d.Layers = append(d.Layers, llcLayer{g.Name, g.Size, l.Value, l.BurnIn})
		d.Findings = append(d.Findings, llcFindings(g.Name, l)...)
	}
	return d, nil
}

// llcFindings are those of a reading but for shallow trees, which cost time alone;
// those of a layer, if it has a name, say so.
func llcFindings(layer string, l *sampler.LLC) []thermo.Finding {
	findings := []thermo.Finding{}
	for _, f := range l.Findings {
		if f.ID == "shallow-trees" {
			continue
		}
		f.Group = layer
		findings = append(findings, f)
	}
	return findings
}

func (d *llcDocument) print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "learning coefficient\t%v (of at most %g: half of %d parameters)\n", d.LLC, float64(d.Parameters)/2, d.Parameters)
	for _, l := range d.Layers {
		fmt.Fprintf(t, "  layer %s\t%v (%d parameters)\n", l.Name, l.LLC, l.Parameters)
	}
	fmt.Fprintf(t, "loss\t%.6g at the weights, %v in the chains\n", d.Loss, thermo.FormatError(d.MeanLoss.Value, d.MeanLoss.StdErr))
	fmt.Fprintf(t, "beta\t%.6g (temperature %.6g), n = %d, localisation %g\n", d.Beta, 1/d.Beta, d.Examples, d.Localisation)
	fmt.Fprintf(t, "chains\t%d × %d draws after %d steps of warm-up, seed %d\n", d.Chains, d.Draws, d.Warmup, d.Seed)
	fmt.Fprintf(t, "burn-in\t%d of the draws, chosen to leave most independent ones\n", d.BurnIn)
	for _, reading := range d.Thermometers {
		fmt.Fprintf(t, "%s\t%v\n", reading.Name, reading)
	}
	fmt.Fprintf(t, "zeroth law\t%s: %s\n", d.Equilibrium.Verdict, d.Equilibrium.Reason)
	if err := t.Flush(); err != nil {
		return err
	}
	return printFindings(w, d.Findings)
}
