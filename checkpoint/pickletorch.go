package checkpoint

import (
	"fmt"
	"math"
	"strings"
)

// storageDType returns the dtype of a torch storage class.
func storageDType(g global) (string, bool) {
	name, ok := strings.CutPrefix(string(g), "torch.")
	if !ok {
		return "", false
	}
	dtype, ok := torchStorages[name]
	return dtype, ok
}

func isTorchDType(g global) bool {
	name, ok := strings.CutPrefix(string(g), "torch.")
	return ok && torchDTypes[name] != ""
}

// storageOf reads the persistent id of a storage:
// ("storage", class, key, location, number of elements).
func storageOf(id any) (*pickledStorage, error) {
	t, _ := id.(pickledTuple)
	if len(t) != 5 || t[0] != "storage" {
		return nil, fmt.Errorf("expected the id of a storage, got %T", id)
	}
	class, _ := t[1].(global)
	key, isText := t[2].(string)
	dtype, isStorage := storageDType(class)
	if !isText || !isStorage && class != "torch.storage.UntypedStorage" {
		return nil, fmt.Errorf("expected a storage class and a key, got %v and %T", t[1], t[2])
	}
	return &pickledStorage{dtype: dtype, key: key}, nil
}

// call is what REDUCE may do: build dicts, tuples and tensors.
func call(f global, args pickledTuple) (any, error) {
	switch f {
	case "collections.OrderedDict":
		return orderedDict(args)
	case "torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor_v3":
		return rebuildTensor(f, args)
	case "torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state":
		if len(args) > 0 {
			if t, ok := args[0].(*pickledTensor); ok {
				return t, nil
			}
		}
		return nil, fmt.Errorf("%s: expected a tensor", f)
	case "torch.Size":
		if len(args) == 1 {
			if t, ok := args[0].(pickledTuple); ok {
				return t, nil
			}
		}
		return nil, fmt.Errorf("%s: expected a tuple", f)
	case "torch.device":
		return opaque{}, nil
	}
	return nil, fmt.Errorf("%s cannot be called; nothing was executed", f)
}

func orderedDict(args pickledTuple) (any, error) {
	d := &pickledDict{}
	if len(args) == 0 {
		return d, nil
	}
	list, ok := args[0].(*pickledList)
	if !ok || len(args) != 1 {
		return nil, fmt.Errorf("collections.OrderedDict: expected a list of pairs")
	}
	for _, item := range list.items {
		var pair []any
		switch item := item.(type) {
		case *pickledList:
			pair = item.items
		case pickledTuple:
			pair = item
		}
		if len(pair) != 2 {
			return nil, fmt.Errorf("collections.OrderedDict: expected a list of pairs")
		}
		d.pairs = append(d.pairs, [2]any{pair[0], pair[1]})
	}
	return d, nil
}

// rebuildTensor reads (storage, offset, shape, strides, …); version 3 ends
// with a dtype, and its storage may be untyped.
func rebuildTensor(f global, args pickledTuple) (any, error) {
	if len(args) < 4 {
		return nil, fmt.Errorf("%s: expected at least 4 arguments, got %d", f, len(args))
	}
	storage, ok := args[0].(*pickledStorage)
	offset, isInt := args[1].(int64)
	shape, err1 := integerTuple(args[2])
	strides, err2 := integerTuple(args[3])
	if !ok || !isInt || offset < 0 || offset > math.MaxInt/16 || err1 != nil || err2 != nil {
		return nil, fmt.Errorf("%s: expected a storage, an offset, a shape and strides, none negative", f)
	}
	t := &pickledTensor{dtype: storage.dtype, key: storage.key, offset: int(offset), shape: shape, strides: strides}
	if strings.HasSuffix(string(f), "_v3") {
		if len(args) < 7 {
			return nil, fmt.Errorf("%s: expected at least 7 arguments, got %d", f, len(args))
		}
		g, _ := args[6].(global)
		t.dtype = torchDTypes[strings.TrimPrefix(string(g), "torch.")]
	}
	if t.dtype == "" {
		return nil, fmt.Errorf("%s: expected a dtype", f)
	}
	return t, nil
}

func integerTuple(v any) ([]int, error) {
	t, ok := v.(pickledTuple)
	if !ok {
		return nil, fmt.Errorf("expected a tuple, got %T", v)
	}
	out := make([]int, len(t))
	for i, x := range t {
		n, ok := x.(int64)
		if !ok || n < 0 || n > math.MaxInt/16 {
			return nil, fmt.Errorf("expected non-negative integers, got %v", x)
		}
		out[i] = int(n)
	}
	return out, nil
}
