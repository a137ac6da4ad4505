// Package trajectory reads how far the weights of a run have come, from the
// checkpoints that it left.
package trajectory

import (
	"context"
	"fmt"
	"io/fs"
	"iter"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/kelvin-ml/kelvin/checkpoint"
)

// A Point is one checkpoint of a run.
type Point struct {
	Step int64
	Path string // a file, or a folder of shards
	Time float64
}

var (
	stepNumber = regexp.MustCompile(`(?i)(?:step|iter|checkpoint|ckpt)[a-z]*[-_=]?(\d{1,15})`)
	anyNumber  = regexp.MustCompile(`\d{1,15}`)
	extensions = []string{".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".npz", ".gguf"}
	sideFiles  = []string{"optimizer", "scheduler", "training_args", "rng_state", "scaler"}
)

// Find lists the checkpoints in dir by step: files of weights, and folders that
// hold one each. The step is the number after "step", "checkpoint" or the like in
// the name, or else its last number; weights without one, the final ones say, are
// left out. It is an error when none has a number, or two have the same.
func Find(dir string) ([]Point, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("finding checkpoints: %w", err)
	}
	var list []Point
	nameless := ""
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if e.IsDir() {
			path = inside(path)
		}
		if path == "" || !e.IsDir() && !isWeights(e.Name()) {
			continue
		}
		step, ok := stepOf(e.Name())
		if !ok {
			nameless = path
			continue
		}
		p := Point{Step: step, Path: path}
		if info, err := e.Info(); err == nil {
			p.Time = float64(info.ModTime().UnixMilli()) / 1e3
		}
		list = append(list, p)
	}
	if len(list) == 0 && nameless != "" {
		return nil, fmt.Errorf("finding checkpoints: %s: expected a step in its name, as in step-1000.safetensors", nameless)
	}
	slices.SortStableFunc(list, func(a, b Point) int { return int(min(1, max(-1, a.Step-b.Step))) })
	for i := 1; i < len(list); i++ {
		if list[i].Step == list[i-1].Step {
			return nil, fmt.Errorf("finding checkpoints: %s and %s are both of step %d", list[i-1].Path, list[i].Path, list[i].Step)
		}
	}
	return list, nil
}

// inside returns the weights that the folder of one checkpoint holds, "" for none.
func inside(dir string) string {
	if index, _ := filepath.Glob(filepath.Join(dir, "*.index.json")); len(index) > 0 {
		return dir
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return ""
	}
	i := slices.IndexFunc(entries, func(e fs.DirEntry) bool { return !e.IsDir() && isWeights(e.Name()) })
	if i < 0 {
		return ""
	}
	return filepath.Join(dir, entries[i].Name())
}

func isWeights(name string) bool {
	return slices.Contains(extensions, strings.ToLower(filepath.Ext(name))) && !strings.HasPrefix(name, ".") &&
		!slices.ContainsFunc(sideFiles, func(s string) bool { return strings.HasPrefix(name, s) })
}

func stepOf(name string) (int64, bool) {
	name = strings.TrimSuffix(name, filepath.Ext(name))
	digits := ""
	if m := stepNumber.FindAllStringSubmatch(name, -1); m != nil {
		digits = m[len(m)-1][1]
	} else if all := anyNumber.FindAllString(name, -1); all != nil {
		digits = all[len(all)-1]
	}
	step, err := strconv.ParseInt(digits, 10, 64)
	return step, err == nil
}

// A Layer is how far one layer has come. A layer is the tensors of one prefix:
// "0.weight" and "0.bias" are "0".
type Layer struct {
	Name          string
	Parameters    int
	Weight2       float64           // |θ|²
	Displacement2 float64           // |θ − θ₀|² from the first checkpoint
	Moved2        float64           // |θ − θ'|² from the one before
	Largest       checkpoint.Tensor // its largest tensor of at least two dimensions; no name when it has none
}

// Layers compares a checkpoint with the first and with the one before, in memory
// that does not grow with the checkpoints. Tensors that cannot be read as numbers
// are left out. It is an error when they differ in shape, or hold values that are
// not finite.
func Layers(ctx context.Context, first, before, now *checkpoint.File) ([]Layer, error) {
	var list []Layer
	for _, t := range now.Tensors {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if !t.Readable() || !strings.HasPrefix(t.DType, "F") && !strings.HasPrefix(t.DType, "B") && !strings.HasPrefix(t.DType, "Q") || t.DType == "BOOL" {
			continue
		}
		name := t.Name
		if i := strings.LastIndexByte(name, '.'); i > 0 {
			name = name[:i]
		}
		i := slices.IndexFunc(list, func(l Layer) bool { return l.Name == name })
		if i < 0 {
			list = append(list, Layer{Name: name})
			i = len(list) - 1
		}
		if err := list[i].add(t, first, before); err != nil {
			return nil, fmt.Errorf("%s: tensor %q: %w", now.Path, t.Name, err)
		}
	}
	return list, nil
}

func (l *Layer) add(t checkpoint.Tensor, first, before *checkpoint.File) error {
	from, err := first.Tensor(t.Name)
	if err != nil {
		return err
	}
	last, err := before.Tensor(t.Name)
	if err != nil {
		return err
	}
	if !slices.Equal(from.Shape, t.Shape) || !slices.Equal(last.Shape, t.Shape) {
		return fmt.Errorf("its shape is %v, in %s %v, in %s %v", t.Shape, first.Path, from.Shape, before.Path, last.Shape)
	}
	nextFrom, stopFrom := iter.Pull2(from.Blocks())
	defer stopFrom()
	nextLast, stopLast := iter.Pull2(last.Blocks())
	defer stopLast()
	for block, err := range t.Blocks() {
		if err != nil {
			return err
		}
		a, errA, okA := nextFrom()
		b, errB, okB := nextLast()
		if errA != nil || errB != nil || !okA || !okB || len(a) != len(block) || len(b) != len(block) {
			return fmt.Errorf("the checkpoints before it end early: %v %v", errA, errB)
		}
		for i, x := range block {
			l.Weight2 += x * x
			l.Displacement2 += (x - a[i]) * (x - a[i])
			l.Moved2 += (x - b[i]) * (x - b[i])
		}
	}
	if sum := l.Weight2 + l.Displacement2 + l.Moved2; math.IsNaN(sum) || math.IsInf(sum, 0) {
		return fmt.Errorf("it holds values that are not finite")
	}
	l.Parameters += t.Len()
	if len(t.Shape) >= 2 && (l.Largest.Name == "" || t.Len() > l.Largest.Len()) {
		l.Largest = t
	}
	return nil
}
