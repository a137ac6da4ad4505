package training

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/kelvin-ml/kelvin/checkpoint"
	"github.com/kelvin-ml/kelvin/nn"
)

// optimizerPrefix marks the tensors of a checkpoint that are the optimiser's.
const optimizerPrefix = "optimizer."

// Save writes the weights, the optimiser's state and the step as safetensors.
func (t *Trainer) Save(path string) error {
	var tensors []checkpoint.Named
	for p, values := range stored(t.Network) {
		tensors = append(tensors, checkpoint.Named{Name: p.Name, Shape: p.Shape, F32: values})
	}
	for _, b := range t.Optimizer.Buffers() {
		tensors = append(tensors, checkpoint.Named{Name: optimizerPrefix + b.Name, Shape: []int{len(b.Data)}, F32: b.Data})
	}
	return checkpoint.WriteSafetensors(path, tensors, map[string]string{
		"format": "pt", "step": strconv.Itoa(t.Step), "optimizer_steps": strconv.FormatInt(t.Optimizer.Steps, 10)})
}

// stored yields every tensor that a checkpoint of the network holds, with its
// values: the parameters, and the running statistics of batchnorm.
func stored(network *nn.Network[float32]) iter.Seq2[nn.Tensor, []float32] {
	return func(yield func(nn.Tensor, []float32) bool) {
		for _, g := range network.Groups {
			for _, p := range g.Tensors {
				if !yield(p, network.Params[p.Offset:p.Offset+p.Size()]) {
					return
				}
			}
		}
		for _, p := range network.StateTensors {
			if !yield(p, network.State[p.Offset:p.Offset+p.Size()]) {
				return
			}
		}
	}
}

// Restore reads what Save wrote; from there on the run goes on exactly as if it
// had not stopped.
func (t *Trainer) Restore(path string) error {
	file, err := checkpoint.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := Load(t.Network, file); err != nil {
		return err
	}
	for _, b := range t.Optimizer.Buffers() {
		if err := read(file, optimizerPrefix+b.Name, []int{len(b.Data)}, b.Data); err != nil {
			return err
		}
	}
	step, err := strconv.Atoi(file.Metadata["step"])
	if err != nil || step < 0 {
		return fmt.Errorf("reading %s: metadata \"step\": expected a number of steps, got %q", path, file.Metadata["step"])
	}
	t.Optimizer.Steps, err = strconv.ParseInt(file.Metadata["optimizer_steps"], 10, 64)
	if err != nil {
		return fmt.Errorf("reading %s: metadata \"optimizer_steps\": expected a number, got %q", path, file.Metadata["optimizer_steps"])
	}
	t.Step = step
	return nil
}

// Load reads the network's parameters from a checkpoint whose tensors are named
// and shaped as PyTorch's state_dict names them. Parameters that are missing,
// shaped differently or not finite are errors, and so are tensors that the
// network has no place for.
func Load(network *nn.Network[float32], file *checkpoint.File) error {
	known := map[string]bool{}
	for p, values := range stored(network) {
		known[p.Name] = true
		if err := read(file, p.Name, p.Shape, values); err != nil {
			return err
		}
	}
	for _, t := range file.Tensors {
		if !known[t.Name] && !strings.HasPrefix(t.Name, optimizerPrefix) && !strings.HasSuffix(t.Name, ".num_batches_tracked") {
			return fmt.Errorf("reading %s: tensor %q has no place in the network, whose tensors are %s",
				file.Path, t.Name, strings.Join(slices.Sorted(maps.Keys(known)), ", "))
		}
	}
	return nil
}

func read(file *checkpoint.File, name string, shape []int, dst []float32) error {
	t, err := file.Tensor(name)
	if err != nil {
		return err
	}
	if !slices.Equal(t.Shape, shape) {
		return fmt.Errorf("reading %s: tensor %q: the network expects shape %v, the file has %v", file.Path, name, shape, t.Shape)
	}
	if err := t.Float32(dst); err != nil {
		return err
	}
	if i := slices.IndexFunc(dst, func(x float32) bool { return x-x != 0 }); i >= 0 {
		return fmt.Errorf("reading %s: tensor %q: element %d is %v, not a finite number", file.Path, name, i, dst[i])
	}
	return nil
}
