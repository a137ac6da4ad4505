package checkpoint

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
)

// parseIndex reads the index of a sharded checkpoint, {"metadata": {…},
// "weight_map": {tensor: file}}, and opens its shards, which lie beside it.
// Tensors that the index does not name are left out, as they would be when
// the model is loaded.
func (f *File) parseIndex(content []byte) error {
	if len(content) > maxHeader {
		return fmt.Errorf("an index of %d bytes is above the limit of %d", len(content), maxHeader)
	}
	shardOf, shards, err := f.parseWeightMap(content)
	if err != nil {
		return err
	}
	found := 0
	for _, name := range shards {
		shard, err := openShard(filepath.Join(filepath.Dir(f.Path), name))
		if err != nil {
			return err
		}
		f.maps = append(f.maps, shard.maps...)
		f.Format = shard.Format
		for _, t := range shard.Tensors {
			if shardOf[t.Name] == name {
				f.Tensors = append(f.Tensors, t)
				delete(shardOf, t.Name)
				found++
			}
		}
	}
	for name, shard := range shardOf {
		return fmt.Errorf("%s has no tensor %q, which the index places there (%d of %d tensors were found)", shard, name, found, found+len(shardOf))
	}
	return nil
}

// openShard opens a checkpoint in one file.
func openShard(path string) (*File, error) {
	m, err := mapFile(path)
	if err != nil {
		return nil, fmt.Errorf("shard %s: %w", path, err)
	}
	shard := &File{Path: path, maps: []*mapping{m}}
	err = m.guard(func() error {
		if isIndex(m.data) {
			return errors.New("expected tensors, got an index")
		}
		return shard.parse(m)
	})
	if err != nil {
		shard.Close()
		return nil, fmt.Errorf("shard %s: %w", path, err)
	}
	return shard, nil
}

// parseWeightMap returns the file of each tensor, and the files in order of
// their first mention.
func (f *File) parseWeightMap(content []byte) (shardOf map[string]string, shards []string, err error) {
	d := json.NewDecoder(bytes.NewReader(content))
	d.UseNumber()
	err = object(d, func(key string) error {
		switch key {
		case "metadata":
			return f.parseIndexMetadata(d)
		case "weight_map":
			if shardOf != nil {
				return errors.New("weight_map is given twice")
			}
			shardOf, shards, err = shardNames(d)
			return err
		}
		return fmt.Errorf("unknown key %q", key)
	})
	if err == nil && len(shards) == 0 {
		err = errors.New("expected a weight_map of tensors to files")
	}
	if err != nil {
		return nil, nil, fmt.Errorf("index: %w", err)
	}
	return shardOf, shards, nil
}

func (f *File) parseIndexMetadata(d *json.Decoder) error {
	var values map[string]any
	if err := d.Decode(&values); err != nil {
		return fmt.Errorf("metadata: %w", err)
	}
	f.Metadata = make(map[string]string, len(values))
	for k, v := range values {
		f.Metadata[k] = fmt.Sprint(v)
	}
	return nil
}

func shardNames(d *json.Decoder) (shardOf map[string]string, shards []string, err error) {
	shardOf = make(map[string]string)
	seen := make(map[string]bool)
	err = object(d, func(name string) error {
		shard, err := token[string](d, "a file name")
		switch {
		case err != nil:
			return fmt.Errorf("tensor %q: %w", name, err)
		case shardOf[name] != "":
			return fmt.Errorf("two tensors are called %q", name)
		case shard != filepath.Base(shard) || !filepath.IsLocal(shard):
			return fmt.Errorf("tensor %q: expected a file beside the index, got %q", name, shard)
		}
		shardOf[name] = shard
		if !seen[shard] {
			seen[shard] = true
			shards = append(shards, shard)
		}
		return nil
	})
	return shardOf, shards, err
}
