package training

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"math"

	"github.com/kelvin-ml/kelvin/dataset"
	"github.com/kelvin-ml/kelvin/nn"
)

// Minibatch fills batch with the examples of the given indices, reusing its
// memory.
func Minibatch[T nn.Float](set *dataset.Set, indices []int, batch *nn.Batch[T]) {
	features, positions := set.Features(), set.Positions()
	batch.N = len(indices)
	batch.X = resize(batch.X, len(indices)*features)
	if set.Labels != nil {
		batch.Labels = resize(batch.Labels, len(indices)*positions)
	}
	if set.Y != nil {
		batch.Y = resize(batch.Y, len(indices)*set.Outputs)
	}
	for row, i := range indices {
		convert(batch.X[row*features:(row+1)*features], set.X[i*features:])
		if set.Labels != nil {
			copy(batch.Labels[row*positions:(row+1)*positions], set.Labels[i*positions:])
		}
		if set.Y != nil {
			convert(batch.Y[row*set.Outputs:(row+1)*set.Outputs], set.Y[i*set.Outputs:])
		}
	}
}

// convert fills dst from the beginning of src.
func convert[T nn.Float](dst []T, src []float32) {
	if same, ok := any(dst).([]float32); ok {
		copy(same, src)
		return
	}
	for i := range dst {
		dst[i] = T(src[i])
	}
}

func resize[E any](s []E, n int) []E {
	if cap(s) < n {
		return make([]E, n)
	}
	return s[:n]
}

// ErrOtherData is wrapped by the error of going on with a run on data it was not
// trained on.
var ErrOtherData = errors.New("these are not the data of the run")

// Fingerprint identifies the examples of a set: 16 hexadecimal digits that
// change with any value.
func Fingerprint(set *dataset.Set) string {
	h := fnv.New64a()
	var word [4]byte
	add := func(x uint32) {
		binary.LittleEndian.PutUint32(word[:], x)
		h.Write(word[:])
	}
	for _, values := range [][]float32{set.X, set.Y} {
		add(uint32(len(values)))
		for _, x := range values {
			add(math.Float32bits(x))
		}
	}
	for _, label := range set.Labels {
		add(uint32(label))
	}
	return fmt.Sprintf("%016x", h.Sum64())
}

// Check reports whether the network can be trained or measured on the set: it
// compares the features, the kind of answers, and their number.
func Check[T nn.Float](network *nn.Network[T], set *dataset.Set) error {
	spec, outputs, classes := network.Spec, 1, 0
	for _, d := range network.OutputShape() {
		outputs, classes = outputs*d, d
	}
	features := 1
	for _, d := range spec.Input {
		features *= d
	}
	switch {
	case features != set.Features():
		return fmt.Errorf("the network takes %d features an example, the data have %d", features, set.Features())
	case spec.Loss == "ce" && set.Labels == nil:
		return fmt.Errorf("cross entropy needs class labels, the data have none")
	case spec.Loss == "ce" && set.Positions() != outputs/classes:
		return fmt.Errorf("the network needs %d labels an example (outputs of shape %v), the data have %d", outputs/classes, network.OutputShape(), set.Positions())
	case spec.Loss == "ce" && set.Classes > classes:
		return fmt.Errorf("the network tells %d classes apart, the data have labels up to %d", classes, set.Classes-1)
	case spec.Loss != "ce" && set.Y == nil:
		return fmt.Errorf("the loss %s needs real-valued targets, the data have none", spec.Loss)
	case spec.Loss != "ce" && set.Outputs != outputs:
		return fmt.Errorf("the network has %d outputs, the data have %d targets an example", outputs, set.Outputs)
	}
	return nil
}
