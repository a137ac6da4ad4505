package monitor

import (
	"flag"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kelvin-ml/kelvin/run"
	"github.com/kelvin-ml/kelvin/thermo"
)

var long = flag.Bool("long", false, "also run the tests that take minutes")

// A descent is gradient descent with momentum on a quadratic energy, its two
// layers of modes with curvatures from 1 to 0.05, with gradients of minibatches;
// it writes the records that the PyTorch probe would write.
type descent struct {
	random             *rand.Rand
	rate, momentum     float64
	noise              float64 // of every gradient's component
	theta, last, mean  []float64
	step, readings     int64
	every              int64
	floor, lossScatter float64
	energies           map[int64]float64 // without the noise of minibatches, of every reading
}

const modes = 40

func curvature(i int) float64 { return math.Pow(20, -float64(i)/(modes-1)) }

func newDescent(seed uint64, start float64) *descent {
	d := &descent{random: rand.New(rand.NewPCG(seed, 1)), rate: 0.1, momentum: 0.5, noise: 0.1, every: 10, floor: 0.5, lossScatter: 0.02, energies: map[int64]float64{},
		theta: make([]float64, modes), last: make([]float64, modes), mean: make([]float64, modes)}
	for i := range d.theta {
		d.theta[i] = start * d.random.NormFloat64()
	}
	return d
}

// advance takes steps and feeds the monitor.
func (d *descent) advance(m *Monitor, steps int64) {
	for range steps {
		read := d.step%d.every == 0
		layers := []map[string]float64{{"parameters": modes / 2}, {"parameters": modes / 2}}
		energy := d.floor
		weight := 4 / float64(d.readings+4)
		for i := range d.theta {
			g := curvature(i)*d.theta[i] + d.noise*d.random.NormFloat64()
			energy += curvature(i) * d.theta[i] * d.theta[i] / 2
			d.last[i] = d.momentum*d.last[i] - d.rate*g
			if read {
				v := layers[i*2/modes]
				away := d.theta[i] - d.mean[i]
				if d.readings == 0 {
					away, d.mean[i] = 0, d.theta[i]
				}
				v["centred_virial"] += away * g
				v["gradient_norm2"] += g * g
				v["update_norm2"] += d.last[i] * d.last[i]
				v["centred_update"] += away * d.last[i]
				v["spread_norm2"] += away * away
				v["weight_norm"] = math.Hypot(v["weight_norm"], d.theta[i]+3)
				d.mean[i] += weight * away
			}
			d.theta[i] += d.last[i]
		}
		d.step++
		if read {
			d.readings++
			d.energies[d.step] = energy
			energy += d.lossScatter * d.random.NormFloat64()
			whole := map[string]float64{"loss": energy, "learning_rate": d.rate, "momentum": d.momentum,
				"gradient_norm2": layers[0]["gradient_norm2"] + layers[1]["gradient_norm2"]}
			m.Add(run.Record{Time: float64(d.step), Step: d.step, Kind: run.KindStep, Values: whole})
			for i, v := range layers {
				m.Add(run.Record{Time: float64(d.step), Step: d.step, Kind: run.KindLayer, Layer: []string{"first", "second"}[i], Values: v})
			}
		}
	}
}

// temperature is that of a mode of gradient descent with momentum when it is
// stationary: ⟨θ²⟩λ = ησ²/2(1−µ) / (1 − ηλ/2(1+µ)).
func (d *descent) temperature(i int) float64 {
	return d.rate * d.noise * d.noise / 2 / (1 - d.momentum) / (1 - d.rate*curvature(i)/2/(1+d.momentum))
}

// excess is by how much the energy was above that of the stationary state at the
// present rate, on average over a window, as a share of what is thermal in it.
func (d *descent) excess(r Report) float64 {
	thermal := 0.0
	for i := range modes {
		thermal += d.temperature(i) / 2
	}
	sum, n := 0.0, 0.0
	for step, energy := range d.energies {
		if step >= r.From && step <= r.Step {
			sum, n = sum+energy, n+1
		}
	}
	return (sum/n-d.floor)/thermal - 1
}

func ids(r Report) (list []string) {
	for _, f := range r.Findings {
		list = append(list, f.ID)
	}
	return list
}

// TestFalseAlarms looks at plain runs often, as kelvin watch does: those that
// converge, those that are stationary from the start, and those whose learning
// rate drops or decays. A run may be called in equilibrium only when it is.
func TestFalseAlarms(t *testing.T) {
	seeds := 40
	if *long {
		seeds = 400
	}
	for _, test := range []struct {
		name    string
		start   float64
		rate    func(step int64) float64
		allowed bool // equilibrium
	}{
		{"stationary", 0.03, func(int64) float64 { return 0.1 }, true},
		{"converging", 3, func(int64) float64 { return 0.1 }, true},
		{"slow", 3, func(int64) float64 { return 0.002 }, false},
		{"drops", 3, func(step int64) float64 { return 0.1 / math.Pow(5, float64(step/2000)) }, true},
		{"decays", 3, func(step int64) float64 { return 0.05 * (1 + math.Cos(math.Pi*float64(step)/6001)) }, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			alarms, found, claims := 0, 0, 0
			var excesses []float64 // when a run is first called in equilibrium at a rate
			for seed := range uint64(seeds) {
				m, d := New(), newDescent(seed, test.start)
				wrong, equilibrium, calledAt := false, false, 0.0
				for d.step < 6000 {
					d.rate = test.rate(d.step)
					d.advance(m, 100)
					r := m.Report()
					for _, f := range r.Findings {
						if f.ID == "equilibrium" && test.allowed {
							if equilibrium = true; calledAt != d.rate {
								calledAt = d.rate
								claims++
								excesses = append(excesses, d.excess(r))
							}
							continue
						}
						if wrong = true; alarms < 3 {
							t.Logf("%s, seed %d, step %d: %s: %s", test.name, seed, d.step, f.ID, f.Evidence)
						}
					}
				}
				if wrong {
					alarms++
				}
				if equilibrium {
					found++
				}
			}
			t.Logf("%s: %d of %d runs raise a false alarm in 60 looks, %d are called in equilibrium", test.name, alarms, seeds, found)
			if claims > 0 {
				slices.Sort(excesses)
				t.Logf("  energy above the stationary, as a share of the thermal: median %.2f, 95 %% below %.2f, largest %.2f of %d claims",
					excesses[claims/2], excesses[claims*95/100], excesses[claims-1], claims)
				if excesses[claims*95/100] > 0.15 {
					t.Errorf("%s: called in equilibrium too early", test.name)
				}
			}
			if alarms*50 > seeds {
				t.Errorf("%s: %d of %d runs raise a false alarm, expected at most 2 %%", test.name, alarms, seeds)
			}
			if test.name == "stationary" && found*10 < seeds*9 {
				t.Errorf("%d of %d stationary runs are called in equilibrium", found, seeds)
			}
		})
	}
}

// TestTemperature reads a run whose temperature is known.
func TestTemperature(t *testing.T) {
	var far int
	const seeds = 20
	for seed := range uint64(seeds) {
		m, d := New(), newDescent(seed, 0.03)
		d.advance(m, 12000)
		r := m.Report()
		want := 0.0
		for i := range modes {
			want += d.temperature(i) / modes
		}
		for _, got := range []thermo.Reading{r.Temperature, r.Kinetic} {
			if !got.Valid() {
				t.Fatalf("%v", got)
			}
			if math.Abs(got.Value-want) > 3*got.StdErr {
				far++
			}
		}
		if rho := r.Stationarity; math.Abs(rho.Value-1) > 0.1+3*rho.StdErr {
			t.Errorf("stationarity %v of a stationary run", rho)
		}
		if l := r.Layers[0]; l.Parameters != modes/2 || !l.Temperature.Valid() || l.Temperature.Group != "first" {
			t.Errorf("%+v", l)
		}
	}
	if far > 3 {
		t.Errorf("%d of %d temperatures are more than three standard errors off", far, 2*seeds)
	}
}

// TestFindings makes runs go wrong.
func TestFindings(t *testing.T) {
	change := func(m *Monitor, set func(layer string, values map[string]float64, i int)) {
		d := newDescent(1, 0.03)
		for i := range 64 {
			inner := New()
			d.advance(inner, d.every)
			for _, s := range inner.samples {
				set("", s.whole, i)
				m.Add(run.Record{Time: 1, Step: s.step, Kind: run.KindStep, Values: s.whole})
				for _, name := range inner.names {
					s.layers[name]["parameters"] = modes / 2
					set(name, s.layers[name], i)
					m.Add(run.Record{Time: 1, Step: s.step, Kind: run.KindLayer, Layer: name, Values: s.layers[name]})
				}
			}
		}
	}
	for _, test := range []struct {
		id, group string
		set       func(layer string, v map[string]float64, i int)
	}{
		{"divergence", "", func(layer string, v map[string]float64, i int) {
			if growth := math.Exp(0.5 * float64(max(0, i-56))); layer == "" {
				v["loss"] += 0.1 * growth
				v["gradient_norm2"] *= growth * growth
			}
		}},
		{"divergence", "", func(layer string, v map[string]float64, i int) {
			if layer == "" && i == 63 {
				v["loss"] = math.NaN()
			}
		}},
		{"dead-units", "first", func(layer string, v map[string]float64, i int) {
			if layer == "first" {
				v["dead"] = 0.4
			}
		}},
		{"saturated-units", "second", func(layer string, v map[string]float64, i int) {
			if layer == "second" {
				v["saturated"], v["energy_in"], v["energy_out"] = 0.8, 9, 1
			}
		}},
		{"frozen-layer", "first", func(layer string, v map[string]float64, i int) {
			if layer == "first" {
				v["gradient_norm2"], v["update_norm2"] = 0, 0
			}
		}},
		{"frozen-layer", "first", func(layer string, v map[string]float64, i int) {
			if layer == "first" {
				v["update_norm2"] = 1e-16
			}
		}},
		{"collapsing-layer", "second", func(layer string, v map[string]float64, i int) {
			if layer == "second" {
				v["weight_norm"] = 10 * math.Exp(-0.05*float64(i))
			}
		}},
		{"too-hot", "first", func(layer string, v map[string]float64, i int) {
			if layer == "first" {
				v["centred_update"] = -1.8 * v["spread_norm2"]
			}
		}},
		{"noise-dominated", "", func(layer string, v map[string]float64, i int) {
			if v["batch"] = 8; layer != "" {
				delete(v, "batch")
				v["example_gradient_norm2"] = 8 * v["gradient_norm2"] * 0.99
			}
		}},
	} {
		m := New()
		change(m, test.set)
		r := m.Report()
		i := slices.IndexFunc(r.Findings, func(f thermo.Finding) bool { return f.ID == test.id && f.Group == test.group })
		if i < 0 {
			t.Errorf("%s was not found in %v", test.id, ids(r))
			continue
		}
		if f := r.Findings[i]; !(f.Confidence > 0.9) || f.Evidence == "" || f.Change == "" || strings.Contains(f.Evidence, "%!") {
			t.Errorf("%+v", f)
		}
	}
}

func TestSignalEnergy(t *testing.T) {
	m := New()
	for step := range int64(8) {
		for i, name := range []string{"a", "b", "c", "d"} {
			m.Add(run.Record{Step: step, Kind: run.KindLayer, Layer: name, Values: map[string]float64{"energy_in": math.Pow(9, float64(i)), "energy_out": 1}})
		}
	}
	if r := m.Report(); !slices.Equal(ids(r), []string{"signal-energy"}) || !strings.Contains(r.Findings[0].What, "explodes with depth: by 9 a layer") {
		t.Errorf("%+v", r.Findings)
	}
}

func TestRecordsThatAreOdd(t *testing.T) {
	at := func(time float64, step int64, kind string) run.Record {
		return run.Record{Time: time, Step: step, Kind: kind, Values: map[string]float64{"loss": float64(step)}}
	}
	for _, test := range []struct {
		name    string
		records []run.Record
		problem string
		step    int64
	}{
		{"none", nil, "", 0},
		{"plain", []run.Record{at(1, 10, "step"), at(2, 20, "step")}, "", 20},
		{"resumed", []run.Record{at(1, 10, "step"), at(2, 20, "step"), at(3, 10, "resume"), at(4, 11, "step")}, "", 11},
		{"two writers", []run.Record{at(1, 10, "step"), at(2, 500, "step"), at(3, 20, "step")}, "two programs may be writing", 20},
		{"clock set back", []run.Record{at(4000, 10, "step"), at(400, 20, "step")}, "the clock went back by 3600 s", 20},
	} {
		m := New()
		for _, r := range test.records {
			m.Add(r)
		}
		r := m.Report()
		got := strings.Join(r.Problems, "; ")
		if r.Step != test.step || (test.problem == "") != (got == "") || !strings.Contains(got, test.problem) || len(r.Findings) > 0 {
			t.Errorf("%s: step %d, problems %q, findings %v", test.name, r.Step, got, r.Findings)
		}
	}
}

// TestWindow: a drop of the learning rate begins a new window, a schedule does not.
func TestWindow(t *testing.T) {
	for _, test := range []struct {
		name string
		rate func(step int64) float64
		from int64
	}{
		{"constant", func(int64) float64 { return 0.1 }, 50},
		{"cosine", func(step int64) float64 { return 1 + math.Cos(math.Pi*float64(step)/100) }, 50},
		{"drop", func(step int64) float64 { return 0.1 / math.Pow(5, float64(step/90)) }, 90},
		{"drop just now", func(step int64) float64 { return 0.1 / math.Pow(5, float64(step/99)) }, 99},
	} {
		m := New()
		for step := range int64(100) {
			m.Add(run.Record{Step: step, Kind: run.KindStep, Values: map[string]float64{"loss": 1, "learning_rate": test.rate(step)}})
		}
		if r := m.Report(); r.From != test.from || r.Step != 99 {
			t.Errorf("%s: steps %d to %d, expected from %d", test.name, r.From, r.Step, test.from)
		}
	}
}

// TestMemory feeds a long run: what is held must not grow with it.
func TestMemory(t *testing.T) {
	m := New()
	for step := range int64(100_000) {
		m.Add(run.Record{Time: float64(step), Step: step % 1000, Kind: run.KindStep, Values: map[string]float64{"loss": 1}})
	}
	if len(m.samples) > 2*mostSamples || len(m.problems) > mostProblems+1 {
		t.Errorf("%d samples, %d problems are held", len(m.samples), len(m.problems))
	}
}

// Every finding has a page that says what it means and what to do.
func TestPages(t *testing.T) {
	for _, id := range IDs {
		page, err := os.ReadFile(filepath.Join("..", "docs", "findings", id+".md"))
		if err != nil {
			t.Error(err)
		}
		for _, heading := range []string{"## What it means", "## The evidence", "## What to do"} {
			if !strings.Contains(string(page), heading) {
				t.Errorf("%s: no %q", id, heading)
			}
		}
	}
}
