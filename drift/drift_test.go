package drift

import (
	"context"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/kelvin-ml/kelvin/dataset"
	"github.com/kelvin-ml/kelvin/nn"
	"github.com/kelvin-ml/kelvin/thermo"
	"github.com/kelvin-ml/kelvin/training"
)

// A world is a trained network and the data it was not trained on.
type world struct {
	network *nn.Network[float32]
	set     *dataset.Set
}

func newWorld(t testing.TB) world {
	t.Helper()
	set, err := dataset.Make("gaussian-mixture", dataset.Options{Examples: 20000, Features: 10, Classes: 4, Noise: 1, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	spec, err := nn.ParseArch("10-16-4:relu", "ce")
	if err != nil {
		t.Fatal(err)
	}
	trainer, err := training.New(training.Config{Network: spec, Init: "he", Batch: 64, Steps: 500, Seed: 1,
		Optimizer: nn.OptimizerSpec{Kind: "adam", LearningRate: 0.01}}, rows(set, func(i int) bool { return i < 4000 }))
	if err != nil {
		t.Fatal(err)
	}
	for range 500 {
		if _, err := trainer.Advance(nil); err != nil {
			t.Fatal(err)
		}
	}
	return world{trainer.Network, rows(set, func(i int) bool { return i >= 4000 })}
}

// rows is a copy of the examples that are kept.
func rows(s *dataset.Set, keep func(int) bool) *dataset.Set {
	out := &dataset.Set{Shape: s.Shape, DType: s.DType, Classes: s.Classes}
	f := s.Features()
	for i := range s.N {
		if keep(i) {
			out.X = append(out.X, s.X[i*f:(i+1)*f]...)
			out.Labels = append(out.Labels, s.Labels[i])
			out.N++
		}
	}
	return out
}

// sample draws n examples.
func (w world) sample(n int, random *rand.Rand) *dataset.Set {
	chosen := map[int]bool{}
	for len(chosen) < n {
		chosen[random.IntN(w.set.N)] = true
	}
	return rows(w.set, func(i int) bool { return chosen[i] })
}

// Without drift there are no more false alarms than the level says.
func TestFalseAlarms(t *testing.T) {
	repeats, least, most := 500, 10, 40 // 25 ± 4.9: the level is not wasted
	if testing.Short() {
		repeats, least, most = 60, 0, 9
	}
	w, random := newWorld(t), rand.New(rand.NewPCG(1, 1))
	alarms, refreshes := 0, 0
	for i := range repeats {
		r, err := Compare(context.Background(), w.network, w.sample(150, random), w.sample(120, random), Options{Permutations: 199, Bootstraps: 200, Seed: uint64(i)})
		if err != nil {
			t.Fatal(err)
		}
		if r.Verdict != Fine {
			alarms++
		}
		if r.Verdict == Refresh {
			refreshes++
		}
	}
	t.Logf("%d verdicts in %d repeats of no drift, %d of them refresh", alarms, repeats, refreshes)
	if alarms < least || alarms > most {
		t.Errorf("%d verdicts in %d repeats at %v", alarms, repeats, level)
	}
}

func TestVerdicts(t *testing.T) {
	w, random := newWorld(t), rand.New(rand.NewPCG(2, 2))
	reference := w.sample(500, random)
	for _, c := range []struct {
		name    string
		shift   func(*dataset.Set)
		want    Verdict
		highest string // view with the least p, "" for any
	}{
		{"none", func(*dataset.Set) {}, Fine, ""},
		{"labels", func(s *dataset.Set) { // the inputs are what they were
			for i := range s.Labels {
				if i%3 == 0 {
					s.Labels[i] = (s.Labels[i] + 1) % 4
				}
			}
		}, Refresh, ""},
		{"moved inputs", func(s *dataset.Set) {
			for i := range s.X {
				s.X[i] += 1
			}
		}, Refresh, ""},
		{"fewer of a class", func(s *dataset.Set) {
			*s = *rows(s, func(i int) bool { return s.Labels[i] != 0 || i%4 == 0 })
		}, Watch, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			current := w.sample(500, random)
			c.shift(current)
			r, err := Compare(context.Background(), w.network, reference, current, Options{Permutations: 299, Bootstraps: 500, Seed: 1})
			if err != nil {
				t.Fatal(err)
			}
			if r.Verdict != c.want || (len(r.Findings) > 0) != (c.want != Fine) {
				t.Errorf("verdict %s, expected %s: %+v", r.Verdict, c.want, r)
			}
		})
	}
}

// A view scaled by c has the entropy of the reference plus d ln c, and c² the signal.
func TestEntropyShift(t *testing.T) {
	w, random := newWorld(t), rand.New(rand.NewPCG(3, 3))
	reference, current := w.sample(1500, random), w.sample(1500, random)
	for i := range current.X {
		current.X[i] *= 2
	}
	r, err := Compare(context.Background(), w.network, reference, current, Options{Permutations: 99, Bootstraps: 500, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	v := r.Views[0]
	shift, stderr := -v.Shift.Entropy.Value, v.Shift.Entropy.StdErr
	if want := float64(v.Components) * math.Ln2; v.Name != "inputs" || math.Abs(shift-want) > 4*stderr {
		t.Errorf("entropy of the %s shifts by %.3f ± %.3f on %d components, expected %.3f", v.Name, shift, stderr, v.Components, want)
	}
	if math.Abs(v.Signal.Value-4) > 4*v.Signal.StdErr || !(v.Signal.Low < 4 && 4 < v.Signal.High) {
		t.Errorf("signal %+v, expected 4", v.Signal)
	}
	if heat := v.Shift.Heat.Value; math.Abs(heat+r.Energy.Value) > 1e-9 {
		t.Errorf("heat %v of an energy shift %v", heat, r.Energy.Value)
	}
}

// The interval of an entropy shift holds the truth as often as it says: of normals
// of which one is twice as wide in each of three directions, 3 ln 2.
func TestEntropyIntervals(t *testing.T) {
	random := rand.New(rand.NewPCG(6, 6))
	draw := func(width float64) view {
		v := view{features: 3}
		for range 3 * 500 {
			v.points = append(v.points, width*random.NormFloat64())
		}
		return v
	}
	const repeats = 150
	covered := 0
	for range repeats {
		v := View{Name: "normal"}
		if err := v.entropies(draw(1), draw(2), [2]thermo.Reading{unread(""), unread("")}); err != nil {
			t.Fatal(err)
		}
		if want := 3 * math.Ln2; v.Entropy.Low < want && want < v.Entropy.High {
			covered++
		}
	}
	if t.Logf("%d of %d intervals of 95 %% hold the truth", covered, repeats); covered < 0.9*repeats {
		t.Error("too few")
	}
}

func TestWithoutAnswers(t *testing.T) {
	w, random := newWorld(t), rand.New(rand.NewPCG(4, 4))
	reference, current := w.sample(200, random), w.sample(200, random)
	for i := range current.X {
		current.X[i] += 1
	}
	current.Labels = nil
	r, err := Compare(context.Background(), w.network, reference, current, Options{Permutations: 199, Bootstraps: 200})
	if err != nil {
		t.Fatal(err)
	}
	if r.Verdict != Watch || r.Energy != nil || len(r.Layers) > 0 {
		t.Errorf("%+v", r)
	}
}

func TestBadInput(t *testing.T) {
	w, random := newWorld(t), rand.New(rand.NewPCG(5, 5))
	good := w.sample(100, random)
	other := *good
	other.Shape, other.X = []int{5}, good.X[:500]
	for want, set := range map[string]*dataset.Set{
		"has shape [10], one of the current set [5]": &other,
		"at least 30 examples":                       w.sample(10, random),
	} {
		if _, err := Compare(context.Background(), w.network, good, set, Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, expected %q", err, want)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Compare(ctx, w.network, good, good, Options{}); err == nil {
		t.Error("no error when interrupted at once")
	}
}
