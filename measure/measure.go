// Package measure reads one state of one network through every thermometer that
// applies: it draws parameters from the state, and lets all thermometers look at
// the same draws.
package measure

import (
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/kelvin-ml/kelvin/dataset"
	"github.com/kelvin-ml/kelvin/heatengine"
	"github.com/kelvin-ml/kelvin/nn"
	"github.com/kelvin-ml/kelvin/thermo"
	"github.com/kelvin-ml/kelvin/training"
)

// The states of a network (docs/theory.md#t1).
const (
	Initial = "init"    // parameters drawn anew by the initialisation scheme
	Trained = "trained" // parameters about the trained weights
)

// Options say what to measure.
type Options struct {
	State    string                // Initial or Trained
	Init     string                // initialisation scheme, as nn.Network.InitScales lists them
	Trainer  *training.Trainer     // a run to let go on: the trained state is then its fluctuations; may be nil
	Draws    int                   // draws of the state; 0 for a default that suits it
	Seed     uint64                // of everything drawn
	Progress func(done, total int) // called after each draw; may be nil
}

// A Result is everything read from one state. Energies are in units of the
// loss, entropies in nats, temperatures in energy per nat.
type Result struct {
	State   string
	Method  string // how the state was drawn
	Why     string // why that way
	Draws   int
	Partial bool // interrupted: fewer draws than asked
	Seed    uint64

	Parameters   int                // of the network
	Random       int                // that the state gives a spread: k of the temperature
	Examples     int                // of the data
	Energy       thermo.Reading     // U = ⟨E⟩
	Entropy      thermo.Reading     // S
	Resolution   string             // what the entropy refers to
	Temperature  thermo.Reading     // dU/dS of the whole network
	Heat         thermo.Reading     // k·T
	Cascade      float64            // work efficiency of all activations in a row
	AtWeights    *AtWeights         // nil for the initial state
	Transition   *thermo.Transition // initial → trained; nil for the initial state
	Layers       []Layer
	Thermometers []thermo.Reading
	ZerothLaw    thermo.Zeroth
	Stationarity *thermo.Reading // of an optimiser's fluctuations, else nil: 1 when stationary
	Findings     []thermo.Finding
}

// A Layer is what one layer reads.
type Layer struct {
	Name        string
	Parameters  int
	Temperature thermo.Reading // local: (θ_l − m_l)·∇_l E / k_l
	Heat        thermo.Reading // k_l T_l
	Engine      heatengine.Layer
	Noise       *thermo.Reading // gradient-noise scale of the layer at the trained weights
	GradNorm    float64         // |∇_l E| at the trained weights
	Virial      float64         // θ_l·∇_l E at the trained weights
}

// AtWeights is what the trained weights themselves read, without fluctuations.
type AtWeights struct {
	Energy      float64
	NoiseScale  thermo.Reading  // B_simple = tr C/|G|², examples
	SGDNoise    *thermo.Reading // the temperature that gradient noise would sustain; nil without an sgd optimiser
	Calibration *thermo.Reading // likelihood temperature of the labels; nil unless the loss is cross entropy
	Accuracy    float64         // share of labels that are the largest output; 0 unless the loss is cross entropy
}

// Network measures a network on data. The parameters of network are the trained
// weights (those of o.Trainer, if there is one), and are left as they were.
//
// When ctx ends early the draws made so far are the result, marked Partial,
// unless they are too few to say anything.
func Network(ctx context.Context, network *nn.Network[float32], set *dataset.Set, o Options) (*Result, error) {
	if err := training.Check(network, set); err != nil {
		return nil, err
	}
	switch o.State {
	case Initial, Trained:
	default:
		return nil, fmt.Errorf("state %q: expected %s or %s", o.State, Trained, Initial)
	}
	if o.Draws < 0 {
		return nil, fmt.Errorf("expected a number of draws, got %d", o.Draws)
	}
	l := newLens(network, set, rand.New(rand.NewPCG(o.Seed, 0)))
	if o.State == Initial {
		return l.readInitial(ctx, o)
	}
	return l.readTrained(ctx, o)
}

func (o Options) progress(done, total int) {
	if o.Progress != nil {
		o.Progress(done, total)
	}
}
