package power

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/kelvin-ml/kelvin/thermo"
)

// falling makes a history of n records, one a second and ten steps: the loss falls
// as loss(i), with correlated noise; one layer of 1000 parameters goes from variance 1 to 2⁻⁸.
func falling(n int, seed uint64, loss func(i int) float64) *History {
	r := rand.New(rand.NewPCG(seed, 7))
	h := &History{Nats: true}
	noise, l := 0.0, LayerHistory{Name: "0", Parameters: 1000, FirstStep: 10, FirstNorm2: 1000}
	for i := range n {
		noise = 0.5*noise + 0.05*r.NormFloat64()
		h.Step, h.Time, h.Loss = append(h.Step, int64(10*i+10)), append(h.Time, 1e9+float64(i)), append(h.Loss, loss(i)+noise)
		l.Steps, l.SpreadNorm2 = append(l.Steps, int64(10*i+10)), append(l.SpreadNorm2, 1000./256*math.Exp(0.1*r.NormFloat64()-0.005))
	}
	h.Layers = []LayerHistory{l}
	return h
}

// steady draws watts for as long as h, and a second longer on both sides.
func steady(h *History, watts float64) Trace {
	var t Trace
	for x := h.Time[0] - 1; x <= h.Time[len(h.Time)-1]+1; x++ {
		t.add(x, watts, 0)
	}
	return t
}

func plateau(i int) float64 { return 0.5 + 2*math.Exp(-float64(i)/200) }

// start returns what a plateau loses from the first records that Spend looks at,
// and their middle.
func start(s *Spending) (removed, middle float64) {
	n := min(max(8, int(s.StopStep/10-1)/20), 64)
	for i := range n {
		removed += (plateau(i) - 0.5) / float64(n)
	}
	return removed, float64(n-1) / 2
}

// TestSpend divides known joules by known nats and bits.
func TestSpend(t *testing.T) {
	for seed := range uint64(20) {
		h := falling(4000, seed, plateau)
		s, err := Spend(h, []Trace{steady(h, 100), steady(h, 50)})
		if err != nil {
			t.Fatal(err)
		}
		if !s.Stopped || s.StopStep < 3000 || s.StopStep > 20000 {
			t.Errorf("seed %d: stopped %v at step %d; e-folding is 2000 steps", seed, s.Stopped, s.StopStep)
			continue
		}
		removed, middle := start(s)
		near(t, "loss removed", s.Removed.Value, removed, 4*s.Removed.StdErr)
		near(t, "all joules", s.Total.Value, 150*3999, 1e-3)
		near(t, "joules of the fall", s.Fall.Value, 150*(float64(s.StopStep)/10-1-middle), 1e-3)
		near(t, "all parts", s.Fall.Value+s.After.Value+150*middle, s.Total.Value, 1e-3)
		near(t, "bits", s.Bits.Value, 4000, 4*s.Bits.StdErr)
		near(t, "error of bits", s.Bits.StdErr, math.Sqrt(500)/math.Ln2, 10)
		near(t, "joules per bit", s.PerBit.Value, s.Fall.Value/s.Bits.Value, 1e-12)
		near(t, "joules per nat", s.PerLoss.Value, s.Fall.Value/s.Removed.Value, 1e-9)
		for _, r := range []thermo.Reading{s.Start, s.End, s.Removed, s.Total, s.PerLoss, s.Bits, s.PerBit} {
			if !r.Valid() || !(r.StdErr >= 0) {
				t.Errorf("seed %d: %v", seed, r)
			}
		}
	}
}

// TestSpendCoverage counts how often three errors hold the loss that was removed.
func TestSpendCoverage(t *testing.T) {
	const n = 200
	out := 0
	for seed := range uint64(n) {
		h := falling(4000, 100+seed, plateau)
		s, err := Spend(h, []Trace{steady(h, 100)})
		if err != nil {
			t.Fatal(err)
		}
		removed, _ := start(s)
		if low, high := s.Removed.Interval(0.95); removed < low || removed > high {
			out++
		}
	}
	if out > n/10+8 { // 5 %, and no more than twice that
		t.Errorf("%d of %d intervals of 95 %% miss", out, n)
	}
}

// TestNotStopped does not call an end what still falls, nor a fall what does not.
func TestNotStopped(t *testing.T) {
	for seed := range uint64(20) {
		h := falling(4000, seed, func(i int) float64 { return 3 - float64(i)/2000 })
		s, err := Spend(h, []Trace{steady(h, 100)})
		if err != nil {
			t.Fatal(err)
		}
		if s.Stopped || s.After.Value != 0 || s.StopStep != 40000 {
			t.Errorf("seed %d: a line stopped falling at step %d", seed, s.StopStep)
		}
		near(t, "loss removed", s.Removed.Value, (4000-200.5-31.5)/2000, 4*s.Removed.StdErr)
		if s.Bits.Valid() || !strings.Contains(s.Bits.Invalid, "drift") {
			t.Errorf("bits of a drift: %v", s.Bits)
		}
		h = falling(1000, seed, func(int) float64 { return 3 })
		if s, err = Spend(h, []Trace{steady(h, 100)}); err != nil {
			t.Fatal(err)
		}
		if s.PerLoss.Valid() || !strings.Contains(s.PerLoss.Invalid, "no loss was removed") {
			t.Errorf("seed %d: price of nothing: %v", seed, s.PerLoss)
		}
	}
}

// TestSpendSays names what is missing.
func TestSpendSays(t *testing.T) {
	h := falling(4000, 1, plateau)
	trace := steady(h, 100)
	for name, c := range map[string]struct {
		change func(h *History, t *Trace)
		want   string
		of     func(s *Spending) thermo.Reading
	}{
		"gap": {func(_ *History, t *Trace) { t.Time, t.Watts = t.Time[100:], t.Watts[100:] }, "of the time: the energy is at least this",
			func(s *Spending) thermo.Reading { return s.PerLoss }},
		"no layers": {func(h *History, _ *Trace) { h.Layers = nil }, "recorded no layers", func(s *Spending) thermo.Reading { return s.Bits }},
		"no spread": {func(h *History, _ *Trace) { h.Layers[0].SpreadNorm2 = nil }, `of layer "0"`, func(s *Spending) thermo.Reading { return s.PerBit }},
		"late":      {func(h *History, _ *Trace) { h.Layers[0].FirstStep = 9000 }, "are those of step 9000", func(s *Spending) thermo.Reading { return s.Bits }},
		"frozen": {func(h *History, _ *Trace) { h.Layers[0].SpreadNorm2 = make([]float64, 4000) }, "do not fluctuate",
			func(s *Spending) thermo.Reading { return s.Bits }},
	} {
		changed, t2 := *h, trace
		changed.Layers = append([]LayerHistory{}, h.Layers...)
		c.change(&changed, &t2)
		s, err := Spend(&changed, []Trace{t2})
		if err != nil {
			t.Fatal(err)
		}
		if r := c.of(s); !strings.Contains(r.Invalid, c.want) {
			t.Errorf("%s: got %q, want %q", name, r.Invalid, c.want)
		}
	}
	if _, err := Spend(&History{}, nil); err == nil {
		t.Error("no error for an empty run")
	}
}

func TestLandauer(t *testing.T) {
	near(t, "at 300 K, in zJ", Landauer(300)*1e21, 2.8710, 1e-4)
}
