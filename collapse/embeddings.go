package collapse

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"

	"gonum.org/v1/gonum/floats"

	"github.com/kelvin-ml/kelvin/dataset"
	"github.com/kelvin-ml/kelvin/thermo"
)

// Embeddings are a random part of the rows of an array.
type Embeddings struct {
	Path string
	Rows int // in all
	x    [][]float64
}

// IsEmbeddings reports whether a path is an npy file, or a folder with one in it.
func IsEmbeddings(path string) bool {
	return len(arraysIn(path)) > 0
}

// arraysIn lists the npy files that a path stands for.
func arraysIn(path string) []string {
	if strings.EqualFold(filepath.Ext(path), ".npy") {
		return []string{path}
	}
	list, err := filepath.Glob(filepath.Join(path, "*.npy")) // fails for a bad pattern alone
	if err != nil {
		return nil
	}
	return list
}

// ReadEmbeddings reads npy arrays, documents × features: one file, or all in a
// folder. It keeps a random sample of the rows.
func ReadEmbeddings(ctx context.Context, path string, sample int, seed uint64) (*Embeddings, error) {
	e := &Embeddings{Path: path}
	r := rand.New(rand.NewPCG(seed, 7))
	for _, file := range arraysIn(path) {
		if err := e.read(ctx, file, sample, r); err != nil {
			return nil, err
		}
	}
	if len(e.x) == 0 {
		return nil, fmt.Errorf("reading %s: expected embeddings, got %d rows", path, e.Rows)
	}
	r.Shuffle(len(e.x), func(i, j int) { e.x[i], e.x[j] = e.x[j], e.x[i] })
	return e, nil
}

// read takes in one array.
func (e *Embeddings) read(ctx context.Context, path string, sample int, r *rand.Rand) error {
	m, err := dataset.OpenMatrix(path)
	if err != nil {
		return err
	}
	defer m.Close()
	if len(e.x) > 0 && m.Columns != len(e.x[0]) {
		return fmt.Errorf("reading %s: expected %d features as in the arrays before, got %d", path, len(e.x[0]), m.Columns)
	}
	i := 0
	for row, err := range m.All() {
		if err == nil && i%1024 == 0 {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		for j, x := range row {
			if math.IsNaN(x) || math.IsInf(x, 0) {
				return fmt.Errorf("reading %s: row %d: feature %d is %g", path, i, j, x)
			}
		}
		i++
		e.Rows++
		if len(e.x) < sample {
			e.x = append(e.x, slices.Clone(row))
		} else if k := r.IntN(e.Rows); k < sample {
			copy(e.x[k], row)
		}
	}
	return nil
}

// embeddingStatistics are what a cloud returns of a batch, with their units.
var embeddingStatistics = [][2]string{
	{"entropy", "nat"}, {"log variance", "1"}, {"vendi", "documents"}, {"precision", "1"}, {"recall", "1"}, {"temperature", "1"},
}

// Monitor batches of embeddings have at most so many rows: neighbours are counted
// one by one.
const largestBatch = 200

// MonitorEmbeddings compares generations of embeddings with the first, as Monitor
// compares text.
func MonitorEmbeddings(ctx context.Context, generations []*Embeddings, seed uint64) ([]Monitored, error) {
	if len(generations) < 2 {
		return nil, fmt.Errorf("monitor: expected at least two generations, got %d", len(generations))
	}
	size := min(largestBatch, len(generations[0].x)/(2*numberOfBatches))
	for _, g := range generations[1:] {
		if len(g.x[0]) != len(generations[0].x[0]) {
			return nil, fmt.Errorf("monitor: %s has %d features, %s %d", g.Path, len(g.x[0]), generations[0].Path, len(generations[0].x[0]))
		}
		size = min(size, len(g.x)/numberOfBatches)
	}
	if size < 10 {
		return nil, fmt.Errorf("monitor: too few embeddings: expected at least %d, twice as many in generation 0", 10*numberOfBatches)
	}
	c := newCloud(generations[0].x[:size*numberOfBatches])
	var all [][][]float64
	for k, g := range generations {
		x := g.x
		if k == 0 {
			x = x[size*numberOfBatches:]
		}
		var rows [][]float64
		for b := range numberOfBatches {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			rows = append(rows, c.measure(x[b*size:(b+1)*size]))
		}
		all = append(all, rows)
	}
	list := compare(all, embeddingStatistics, seed)
	for g := range list {
		list[g].Path, list[g].Documents = generations[g].Path, generations[g].Rows
	}
	judge(list, "entropy", "temperature")
	return list, nil
}

// A cloud is half of generation 0, with the distance of each point to its third
// neighbour: where it has support.
type cloud struct {
	points         [][]float64
	radii          []float64
	mean, variance []float64
}

const neighbour = 3

func newCloud(points [][]float64) *cloud {
	points = points[:min(len(points), 1000)]
	c := &cloud{points: points, radii: radii(points)}
	d := len(points[0])
	c.mean, c.variance = make([]float64, d), make([]float64, d)
	for _, p := range points {
		floats.AddScaled(c.mean, 1/float64(len(points)), p)
	}
	for _, p := range points {
		for j, x := range p {
			c.variance[j] += (x - c.mean[j]) * (x - c.mean[j]) / float64(len(points)-1)
		}
	}
	return c
}

// radii returns the distance of every point to its third neighbour.
func radii(points [][]float64) []float64 {
	r := make([]float64, len(points))
	distances := make([]float64, 0, len(points))
	for i, p := range points {
		distances = distances[:0]
		for j, q := range points {
			if i != j {
				distances = append(distances, floats.Distance(p, q, 2))
			}
		}
		slices.Sort(distances)
		r[i] = distances[min(neighbour, len(distances))-1]
	}
	return r
}

// covered is the share of points in a ball about a centre (Kynkäänniemi et al.,
// arXiv 1904.06991).
func covered(points, centres [][]float64, radii []float64) float64 {
	n := 0.0
	for _, p := range points {
		for j, c := range centres {
			if floats.Distance(p, c, 2) <= radii[j] {
				n++
				break
			}
		}
	}
	return n / float64(len(points))
}

func (c *cloud) measure(batch [][]float64) []float64 {
	d := len(c.mean)
	logVariance, temperature := 0.0, 0.0
	used := 0.0
	for j := range d {
		mean, square := 0.0, 0.0
		for i, p := range batch {
			e := p[j] - mean
			mean += e / float64(i+1)
			square += e * (p[j] - mean)
			if c.variance[j] > 0 {
				temperature += (p[j] - c.mean[j]) * (p[j] - c.mean[j]) / c.variance[j] / float64(len(batch))
			}
		}
		logVariance += math.Log(square/float64(len(batch)-1)) / float64(d)
		if c.variance[j] > 0 {
			used++
		}
	}
	entropy := math.NaN()
	if s := thermo.KozachenkoLeonenko(batch); s.Valid() {
		entropy = s.Value
	}
	unit := make([][]float64, len(batch))
	for i, p := range batch {
		unit[i] = slices.Clone(p)
		normalise(unit[i])
	}
	return []float64{entropy, logVariance, vendiOf(unit), covered(batch, c.points, c.radii),
		covered(c.points[:min(len(c.points), 200)], batch, radii(batch)), temperature / used}
}
