package web

import (
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/kelvin-ml/kelvin/nn"
	"github.com/kelvin-ml/kelvin/run"
	"github.com/kelvin-ml/kelvin/training"
)

// A quantity is something that can be plotted: recorded, or derived from what is.
type quantity struct {
	Name   string   `json:"name" doc:"as docs/run-format.md has it, or temperature, efficiency, overshoot"`
	Label  string   `json:"label" doc:"for people"`
	Unit   string   `json:"unit"`
	System bool     `json:"system" doc:"whether there is a series of the whole system"`
	Layers []string `json:"layers" doc:"layers that have a series, in the order of the network"`
}

// labels names the quantities that kelvin knows, in the order to show them.
var labels = []quantity{
	{Name: "loss", Label: "energy", Unit: "loss"},
	{Name: "temperature", Label: "temperature", Unit: "energy/nat"},
	{Name: "efficiency", Label: "work efficiency", Unit: "1"},
	{Name: "overshoot", Label: "overshoot", Unit: "1"},
	{Name: "gradient_norm2", Label: "squared gradient", Unit: "energy²/θ²"},
	{Name: "update_norm2", Label: "squared update", Unit: "θ²"},
	{Name: "weight_norm", Label: "weight norm", Unit: "θ"},
	{Name: "learning_rate", Label: "learning rate", Unit: "θ²/energy"},
	{Name: "momentum", Label: "momentum", Unit: "1"},
	{Name: "energy_in", Label: "signal energy in", Unit: "signal²"},
	{Name: "energy_out", Label: "signal energy out", Unit: "signal²"},
	{Name: "dead", Label: "dead units", Unit: "1"},
	{Name: "saturated", Label: "saturated units", Unit: "1"},
	{Name: "hessian_trace", Label: "Hessian trace", Unit: "energy/θ²"},
	{Name: "alpha", Label: "tail exponent α of the spectrum", Unit: "1"},
	{Name: "spectral_norm", Label: "spectral norm", Unit: "θ"},
	{Name: "stable_rank", Label: "stable rank", Unit: "1"},
	{Name: "spectral_entropy", Label: "spectral entropy", Unit: "nat"},
	{Name: "displacement", Label: "displacement", Unit: "θ"},
	{Name: "diffusion", Label: "diffusion", Unit: "θ²/step"},
	{Name: "spread_norm2", Label: "squared spread", Unit: "θ²"},
	{Name: "power", Label: "power", Unit: "W"},
}

// title names a quantity with its unit, as axes do.
func title(name string) string {
	i := slices.IndexFunc(labels, func(q quantity) bool { return q.Name == name })
	if i < 0 {
		return name
	}
	return fmt.Sprintf("%s (%s)", labels[i].Label, labels[i].Unit)
}

// A view is a run whose index is open.
type view struct {
	*run.Index
	dir      string
	layers   []string // in the order of the network
	sizes    map[string]float64
	recorded map[run.Series]bool
	first    int64 // steps of the first and last record of the system
	last     int64
	memory   *memory
	request  request // as far as it is the same for all of the view
}

// newView returns the view of an open index. What it reads it keeps in m, for
// other views of the same records.
func newView(index *run.Index, dir string, m *memory) (*view, error) {
	list, err := index.List()
	if err != nil {
		return nil, err
	}
	v := &view{Index: index, dir: dir, recorded: map[run.Series]bool{}, sizes: map[string]float64{}, memory: m, request: request{dir: dir}}
	if v.request.size, v.request.changed, err = index.Seen(); err != nil {
		return nil, err
	}
	for _, s := range list {
		v.recorded[s] = true
		if s.Layer != "" && !slices.Contains(v.layers, s.Layer) {
			v.layers = append(v.layers, s.Layer)
		}
	}
	if err := v.measureLayers(); err != nil {
		return nil, err
	}
	if v.first, v.last, err = index.Steps(); err != nil {
		return nil, err
	}
	return v, nil
}

// A memory keeps the buckets that were read last. A page asks for one series
// several times at once, for its map, its curve and those that follow from it.
type memory struct {
	mu    sync.Mutex
	known map[request]func() ([]run.Bucket, error)
	held  int // buckets
}

// mostHeld is about how many buckets are kept: 8 MB of them.
const mostHeld = 1 << 17

// A request names buckets, of the records of a run that were there at some time.
type request struct {
	dir           string
	size, changed int64
	layer, name   string
	from, to      int64
	n             int
}

func newMemory() *memory { return &memory{known: map[request]func() ([]run.Bucket, error){}} }

// Buckets is that of the index. The caller may change what it gets.
func (v *view) Buckets(layer, name string, from, to int64, n int) ([]run.Bucket, error) {
	q := v.request
	q.layer, q.name, q.from, q.to, q.n = layer, name, from, to, n
	m := v.memory
	m.mu.Lock()
	read := m.known[q]
	if read == nil {
		read = sync.OnceValues(func() ([]run.Bucket, error) { return v.Index.Buckets(layer, name, from, to, n) })
		if n <= mostHeld { // all of a series, say for a CSV file, is not kept
			if m.held += n; m.held > mostHeld {
				clear(m.known)
				m.held = n
			}
			m.known[q] = read
		}
	}
	m.mu.Unlock()
	list, err := read()
	if err != nil {
		m.mu.Lock()
		delete(m.known, q)
		m.mu.Unlock()
	}
	return slices.Clone(list), err
}

// measureLayers finds the order of the layers and their numbers of parameters: as
// recorded, or else as the network says that kelvin trained.
func (v *view) measureLayers() error {
	for _, layer := range v.layers {
		if !v.recorded[run.Series{Layer: layer, Name: "parameters"}] {
			continue
		}
		b, err := v.Buckets(layer, "parameters", math.MinInt64, math.MaxInt64, 1)
		if err != nil {
			return err
		}
		v.sizes[layer] = b[0].Max
	}
	var config training.Config
	if run.Model(v.dir, &config) != nil || len(config.Network.Layers) == 0 {
		return nil
	}
	network, err := nn.New[float32](config.Network)
	if err != nil {
		return nil // of another program: it may mean something else
	}
	order := map[string]int{}
	for i, g := range network.Groups {
		order[g.Name] = i
		if _, ok := v.sizes[g.Name]; !ok {
			v.sizes[g.Name] = float64(g.Size)
		}
	}
	slices.SortStableFunc(v.layers, func(a, b string) int { return order[a] - order[b] })
	return nil
}

// quantities lists what the run can show.
func (v *view) quantities() []quantity {
	list := []quantity{}
	known := map[string]bool{"virial": true, "centred_virial": true, "centred_update": true, "example_gradient_norm2": true, "parameters": true, "batch": true}
	add := func(q quantity) {
		known[q.Name] = true
		q.System = v.has("", q.Name)
		q.Layers = []string{}
		for _, layer := range v.layers {
			if v.has(layer, q.Name) {
				q.Layers = append(q.Layers, layer)
			}
		}
		if q.System || len(q.Layers) > 0 {
			list = append(list, q)
		}
	}
	for _, q := range labels {
		add(q)
	}
	others := []string{}
	for s := range v.recorded {
		if !known[s.Name] {
			known[s.Name] = true
			others = append(others, s.Name)
		}
	}
	slices.Sort(others)
	for _, name := range others {
		add(quantity{Name: name, Label: name})
	}
	return list
}

// has reports whether a quantity of a layer, or ("") of the system, can be shown.
func (v *view) has(layer, name string) bool {
	switch {
	case name == "temperature" && layer == "":
		for _, l := range v.layers {
			if v.virial(l) != "" {
				return true
			}
		}
		return false
	case name == "temperature":
		return v.virial(layer) != ""
	case name == "efficiency":
		return v.recorded[run.Series{Layer: layer, Name: "energy_in"}] && v.recorded[run.Series{Layer: layer, Name: "energy_out"}]
	case name == "overshoot":
		return v.recorded[run.Series{Layer: layer, Name: "centred_update"}] && v.recorded[run.Series{Layer: layer, Name: "spread_norm2"}]
	}
	return v.recorded[run.Series{Layer: layer, Name: name}]
}

// virial returns the series that a layer's temperature is read from: about its
// running mean if there is one, else about zero.
func (v *view) virial(layer string) string {
	if v.sizes[layer] > 0 {
		for _, name := range []string{"centred_virial", "virial"} {
			if v.recorded[run.Series{Layer: layer, Name: name}] {
				return name
			}
		}
	}
	return ""
}

// values is the number of values of a curve to an interval that is shown: they say
// how uncertain its mean is. A short run has intervals of half as many records.
const values = 16

// A curve is a series in columns of equal widths. What is not known is null.
type curve struct {
	First     []int64    `json:"first" doc:"step of the first record in each interval"`
	Last      []int64    `json:"last"`
	Mean      []*float64 `json:"mean"`
	StdErr    []*float64 `json:"stderr" doc:"standard error of the mean, correlation counted; null where the records are too few, or too correlated, to tell it"`
	Min       []*float64 `json:"min"`
	Max       []*float64 `json:"max"`
	Points    []int      `json:"points" doc:"finite values"`
	NotFinite []int      `json:"not_finite" doc:"values that are NaN or infinite"`
}

// curve returns a quantity in at most n columns: fewer, but no fewer than forty,
// where there would be less than eight records in each.
func (v *view) curve(layer, name string, from, to int64, n int) (*curve, error) {
	from, to = max(from, v.first), min(to, v.last)
	fine, err := v.fine(layer, name, from, to, max(n*values, 16*shortest))
	if err != nil {
		return nil, err
	}
	c := &curve{[]int64{}, []int64{}, []*float64{}, []*float64{}, []*float64{}, []*float64{}, []int{}, []int{}}
	records := 0
	var known []float64
	for _, b := range fine {
		records += b.Points + b.NotFinite
		if b.Points > 0 {
			known = append(known, b.Mean)
		}
	}
	n = min(n, max(records/(values/2), 40))
	z := readNoise(known)
	width := float64(to-from+1) / float64(n)
	column := func(b run.Bucket) int { return int(float64(b.First-from) / width) }
	for i, at := 0, 0; i < len(fine); { // at is the number of known values before
		j := i + 1
		for j < len(fine) && column(fine[j]) == column(fine[i]) {
			j++
		}
		at += c.add(fine[i:j], z, at)
		i = j
	}
	return c, nil
}

// add adds the column of some buckets, and returns how many of them have a mean:
// of those of the noise they begin at at.
func (c *curve) add(buckets []run.Bucket, z noise, at int) (known int) {
	low, high := math.Inf(1), math.Inf(-1)
	var sum float64
	points, notFinite := 0, 0
	for _, b := range buckets {
		notFinite += b.NotFinite
		if b.Points > 0 {
			known++
			points += b.Points
			sum += float64(b.Points) * b.Mean
			low, high = math.Min(low, b.Min), math.Max(high, b.Max)
		}
	}
	c.First, c.Last = append(c.First, buckets[0].First), append(c.Last, buckets[len(buckets)-1].Last)
	c.Points, c.NotFinite = append(c.Points, points), append(c.NotFinite, notFinite)
	var mean, stderr, least, most *float64
	if points > 0 {
		m := sum / float64(points)
		mean, least, most = &m, &low, &high
		if e := z.stderr(at, at+known); finite(e) {
			stderr = &e
		}
	}
	c.Mean, c.StdErr = append(c.Mean, mean), append(c.StdErr, stderr)
	c.Min, c.Max = append(c.Min, least), append(c.Max, most)
	return known
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// fine returns a quantity in buckets, derived if it must be.
func (v *view) fine(layer, name string, from, to int64, n int) ([]run.Bucket, error) {
	switch {
	case !v.has(layer, name):
		return nil, fmt.Errorf("%q of layer %q: %w", name, layer, errNoSeries)
	case name == "temperature" && layer == "":
		return v.global(from, to, n)
	case name == "temperature":
		b, err := v.Buckets(layer, v.virial(layer), from, to, n)
		return scaled(b, 1/v.sizes[layer]), err
	case name == "efficiency":
		return v.ratio(layer, "energy_in", "energy_out", from, to, n, func(in, out float64) float64 { return 1 - out/in }) // docs/theory.md, T5
	case name == "overshoot":
		return v.ratio(layer, "centred_update", "spread_norm2", from, to, n, func(update, spread float64) float64 { return -update / spread })
	}
	return v.Buckets(layer, name, from, to, n)
}

// global returns Σ k T / Σ k over the layers (docs/theory.md, T2), where all of
// them were recorded. Its minima and maxima are of the means.
func (v *view) global(from, to int64, n int) ([]run.Bucket, error) {
	var sum []run.Bucket
	var k float64
	for _, layer := range v.layers {
		name := v.virial(layer)
		if name == "" {
			continue
		}
		b, err := v.Buckets(layer, name, from, to, n)
		if err != nil {
			return nil, err
		}
		if k += v.sizes[layer]; sum == nil {
			sum = b
			continue
		}
		sum = together(sum, b, func(x, y float64) float64 { return x + y })
	}
	return scaled(sum, 1/k), nil
}

// ratio joins the means of two quantities of a layer.
func (v *view) ratio(layer, a, b string, from, to int64, n int, join func(x, y float64) float64) ([]run.Bucket, error) {
	x, err := v.Buckets(layer, a, from, to, n)
	if err != nil {
		return nil, err
	}
	y, err := v.Buckets(layer, b, from, to, n)
	return together(x, y, join), err
}

// together joins the means of buckets that begin at the same step.
func together(a, b []run.Bucket, join func(x, y float64) float64) []run.Bucket {
	var list []run.Bucket
	for i, j := 0, 0; i < len(a) && j < len(b); {
		switch {
		case a[i].First < b[j].First:
			i++
		case a[i].First > b[j].First:
			j++
		default:
			x := join(a[i].Mean, b[j].Mean)
			if finite(x) {
				list = append(list, run.Bucket{First: a[i].First, Last: a[i].Last, Points: min(a[i].Points, b[j].Points), Min: x, Mean: x, Max: x})
			} else {
				list = append(list, run.Bucket{First: a[i].First, Last: a[i].Last, NotFinite: 1})
			}
			i, j = i+1, j+1
		}
	}
	return list
}

func scaled(list []run.Bucket, by float64) []run.Bucket {
	for i := range list {
		b := &list[i]
		b.Min, b.Mean, b.Max = b.Min*by, b.Mean*by, b.Max*by
	}
	return list
}
