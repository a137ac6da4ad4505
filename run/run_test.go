package run

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// A test runs itself as another process, which does what the environment says.
func TestMain(m *testing.M) {
	dir := os.Getenv("RUN_TEST_DIR")
	switch os.Getenv("RUN_TEST_DO") {
	case "":
		os.Exit(m.Run())
	case "write": // until it is killed
		r, _, err := Open(dir)
		fail(err)
		for step := int64(1); ; step++ {
			fail(r.Append(step1(step), Record{Step: step, Kind: KindLayer, Layer: "0", Values: map[string]float64{"virial": float64(step)}}))
		}
	case "fill": // a disk of few bytes
		signal.Ignore(syscall.SIGXFSZ)
		r, _, err := Open(dir)
		fail(err)
		var limit syscall.Rlimit
		fail(syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit))
		hard := limit.Max
		batch := []Record{step1(1), step1(2), step1(3)}
		length := 0
		for _, record := range batch {
			line, err := record.MarshalJSON()
			fail(err)
			length += len(line) + 1
		}
		for room := range length {
			limit.Cur = uint64(room)
			fail(syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit))
			err := r.Append(batch...)
			if !errors.Is(err, syscall.EFBIG) {
				fail(fmt.Errorf("room for %d bytes: %v", room, err))
			}
		}
		limit.Cur = hard
		fail(syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit))
		fail(r.Append(step1(4)))
		fail(r.Close())
	}
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func child(dir, do string) *exec.Cmd {
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), "RUN_TEST_DO="+do, "RUN_TEST_DIR="+dir)
	c.Stderr = os.Stderr
	return c
}

func step1(step int64) Record {
	return Record{Time: 1.5e9 + float64(step), Step: step, Kind: KindStep, Values: map[string]float64{"loss": 1 / float64(step), "learning_rate": 0.1}}
}

func create(t *testing.T) *Run {
	t.Helper()
	r, err := Create(filepath.Join(t.TempDir(), "a [run] 100% #1?"), map[string]int{"width": 64})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// read returns the records of a run, and the errors between them.
func read(t *testing.T, dir string) (records []Record, problems []error) {
	t.Helper()
	for record, err := range Records(dir) {
		if err != nil {
			problems = append(problems, err)
			continue
		}
		records = append(records, record)
	}
	return records, problems
}

func same(t *testing.T, got, want any) {
	t.Helper()
	if d := cmp.Diff(want, got, cmpopts.EquateNaNs(), cmpopts.EquateEmpty()); d != "" {
		t.Fatalf("(-want +got)\n%s", d)
	}
}

func TestRun(t *testing.T) {
	r := create(t)
	want := []Record{
		step1(1),
		{Time: 1, Step: 1, Kind: KindLayer, Layer: `hostile "layer" </script> \ ` + "\x00\u2028é", Values: map[string]float64{"a": math.NaN(), "b": math.Inf(1), "c": math.Inf(-1), "d": -5e-324}},
		{Time: 1.25, Step: 1 << 60, Kind: "note", Text: "line\nbreak"},
	}
	must(t, r.Append(want...))
	before := time.Now().Add(-time.Second)
	must(t, r.Append(Record{Kind: KindEnd}))
	got, problems := read(t, r.Dir)
	same(t, problems, []error(nil))
	if at := time.UnixMilli(int64(got[3].Time * 1000)); at.Before(before) || at.After(time.Now()) {
		t.Errorf("the time of a record without one is %v", at)
	}
	same(t, got[:3], want)
	var model map[string]int
	must(t, Model(r.Dir, &model))
	same(t, model, map[string]int{"width": 64})
}

func TestAppendRefuses(t *testing.T) {
	r := create(t)
	for _, bad := range []Record{
		{}, {Kind: KindStep, Time: math.NaN()}, {Kind: KindStep, Values: map[string]float64{"step": 1}},
		{Kind: KindStep, Values: map[string]float64{"": 1}}, {Kind: "note", Text: strings.Repeat("x", maxLine)},
	} {
		if err := r.Append(step1(1), bad); err == nil {
			t.Errorf("%.50v was appended", bad)
		}
	}
	if got, problems := read(t, r.Dir); len(got)+len(problems) > 0 {
		t.Errorf("what failed left %v %v", got, problems)
	}
}

func TestCreateRefuses(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "thesis.tex"), nil, 0o644))
	if _, err := Create(dir, 1); err == nil || !strings.Contains(err.Error(), "thesis.tex") {
		t.Errorf("a folder with other files: %v", err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("it left %v", entries)
	}
	r := create(t)
	must(t, r.Close())
	if _, err := Create(r.Dir, 1); err == nil {
		t.Error("a run was created over a run")
	}
	if _, _, err := Open(dir); !errors.Is(err, ErrNotRun) {
		t.Errorf("opening what is no run: %v", err)
	}
	if _, err := Create(t.TempDir(), math.NaN()); err == nil {
		t.Error("a model that JSON cannot hold was taken")
	}
	// What a Create that was killed leaves is no obstacle.
	must(t, os.Remove(filepath.Join(r.Dir, modelFile)))
	r, err := Create(r.Dir, 2)
	must(t, err)
	must(t, r.Close())
}

// TestTorn cuts a run at every byte of its last record.
func TestTorn(t *testing.T) {
	r := create(t)
	must(t, r.Append(step1(1), step1(2)))
	path := filepath.Join(r.Dir, eventsFile)
	before, err := os.ReadFile(path)
	must(t, err)
	must(t, r.Append(step1(3)))
	must(t, r.Close())
	after, err := os.ReadFile(path)
	must(t, err)
	for size := len(before); size <= len(after); size++ {
		must(t, os.WriteFile(path, after[:size], 0o644))
		torn := size > len(before) && size < len(after)-1 // without its newline only, it is whole
		want := []Record{step1(1), step1(2)}
		if size >= len(after)-1 {
			want = append(want, step1(3))
		}
		got, problems := read(t, r.Dir)
		same(t, got, want)
		if len(problems) > 0 != torn {
			t.Fatalf("%d bytes: problems %v", size, problems)
		}
		var problem *TornError
		if torn && (!errors.As(problems[0], &problem) || problem.Offset != int64(len(before)) || problem.Bytes != size-len(before)) {
			t.Fatalf("%d bytes: %v", size, problems[0])
		}
		index, warning, err := OpenIndex(r.Dir)
		must(t, err)
		must(t, index.Close())
		if (warning != "") != torn {
			t.Fatalf("%d bytes: the index warns %q", size, warning)
		}
		again, warning, err := Open(r.Dir)
		must(t, err)
		if (warning != "") != torn {
			t.Fatalf("%d bytes: Open warns %q", size, warning)
		}
		must(t, again.Append(step1(4)))
		must(t, again.Close())
		got, problems = read(t, r.Dir)
		same(t, got, append(want, step1(4)))
		same(t, len(problems), 0)
	}
}

func TestDamagedLine(t *testing.T) {
	r := create(t)
	must(t, r.Append(step1(1)))
	long := append([]byte(strings.Repeat("x", maxLine+10)), '\n')
	for _, bad := range []string{"{\"v\":1,\"t\":2{\"v\":1}\n", "\n", "\x00\x00\n", `{"v":2,"t":1,"step":1,"kind":"step"}` + "\n", string(long)} {
		_, err := r.events.WriteString(bad)
		must(t, err)
	}
	must(t, r.Append(step1(2)))
	got, problems := read(t, r.Dir)
	same(t, got, []Record{step1(1), step1(2)})
	if len(problems) != 5 {
		t.Fatal(problems)
	}
	first, err := step1(1).MarshalJSON()
	must(t, err)
	for i, problem := range problems {
		var bad *LineError
		if !errors.As(problem, &bad) || bad.Line != i+2 || i == 0 && bad.Offset != int64(len(first)+1) {
			t.Errorf("line %d: %v", i+2, problem)
		}
	}
	index, warning, err := OpenIndex(r.Dir)
	must(t, err)
	defer index.Close()
	if !strings.Contains(warning, "line 2, at offset") {
		t.Errorf("the index warns %q", warning)
	}
	points, err := index.Series("", "loss")
	must(t, err)
	same(t, points, []Point{{1, 1}, {2, 0.5}})
}

// TestResume goes on twice, from before what was already there.
func TestResume(t *testing.T) {
	r := create(t)
	resume := func(step int64) Record { return Record{Time: 1, Step: step, Kind: KindResume} }
	layer := func(step int64, x float64) Record {
		return Record{Time: 1, Step: step, Kind: KindLayer, Layer: "0", Values: map[string]float64{"virial": x}}
	}
	must(t, r.Append(layer(1, 1), layer(2, 2), layer(3, 3), resume(2), layer(3, 4), layer(4, 5), resume(1), layer(2, 6)))
	got, problems := read(t, r.Dir)
	same(t, problems, []error(nil))
	same(t, got, []Record{layer(1, 1), resume(1), layer(2, 6)})
	index, _, err := OpenIndex(r.Dir)
	must(t, err)
	defer index.Close()
	points, err := index.Series("0", "virial")
	must(t, err)
	same(t, points, []Point{{1, 1}, {2, 6}})
}

func TestKilledWriter(t *testing.T) {
	r := create(t)
	must(t, r.Close())
	for kill := range 3 {
		c := child(r.Dir, "write")
		must(t, c.Start())
		path := filepath.Join(r.Dir, eventsFile)
		start := size(path)
		for size(path) < start+100_000 {
			time.Sleep(time.Millisecond)
		}
		if kill == 0 {
			_, _, err := Open(r.Dir)
			if want := fmt.Sprintf("pid %d", c.Process.Pid); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("a second writer: %v, want one that names %s", err, want)
			}
			runs, err := List(r.Dir)
			must(t, err)
			if runs[0].State != Running || runs[0].Step == 0 {
				t.Errorf("while it is written: %+v", runs[0])
			}
		}
		must(t, c.Process.Kill())
		c.Wait() // says that it was killed
		before, _ := read(t, r.Dir)
		again, _, err := Open(r.Dir)
		must(t, err)
		must(t, again.Append(Record{Time: 1, Kind: KindResume}))
		must(t, again.Close())
		after := 0
		for _, err := range Records(r.Dir) {
			must(t, err)
			after++
		}
		if len(before) < 100 || after != kill+1 { // the resumes themselves
			t.Errorf("%d records before, %d after going back to the beginning", len(before), after)
		}
	}
}

func size(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// TestFullDisk makes writes stop at every place in a batch of three records.
func TestFullDisk(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs the limits of Linux")
	}
	r := create(t)
	must(t, r.Close())
	must(t, child(r.Dir, "fill").Run())
	got, problems := read(t, r.Dir)
	same(t, problems, []error(nil))
	same(t, got, []Record{step1(4)})
}

func TestDeviceFull(t *testing.T) {
	r := create(t)
	must(t, r.Close())
	path := filepath.Join(r.Dir, eventsFile)
	must(t, os.Remove(path))
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("there is no /dev/full here")
	}
	must(t, os.Symlink("/dev/full", path))
	full, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND, 0)
	must(t, err)
	defer full.Close()
	broken := &Run{Dir: r.Dir, events: full}
	if err := broken.Append(step1(1)); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a full disk: %v", err)
	}
}

func TestConcurrentAppends(t *testing.T) {
	r := create(t)
	const writers, each = 8, 50
	var group sync.WaitGroup
	for w := range writers {
		group.Go(func() {
			for i := range int64(each) {
				if err := r.Append(step1(i+1), Record{Time: 1, Step: i, Kind: "note", Text: strings.Repeat("x", 1000*w)}); err != nil {
					t.Error(err)
				}
			}
		})
		group.Go(func() {
			for _, err := range Records(r.Dir) {
				var torn *TornError
				if err != nil && !errors.As(err, &torn) {
					t.Error(err)
				}
			}
		})
		group.Go(func() {
			index, _, err := OpenIndex(r.Dir)
			if err != nil {
				t.Error(err)
				return
			}
			index.Close()
		})
	}
	group.Wait()
	got, problems := read(t, r.Dir)
	if len(got) != writers*each*2 || len(problems) > 0 {
		t.Errorf("%d records of %d, %v", len(got), writers*each*2, problems)
	}
}

func TestCheckpoints(t *testing.T) {
	r := create(t)
	write := func(path string) error { return os.WriteFile(path, []byte("weights"), 0o644) }
	for _, step := range []int64{2000, 1000, 1_500_000_000} {
		must(t, r.Checkpoint(step, write))
	}
	broken := errors.New("no")
	err := r.Checkpoint(3000, func(path string) error { return errors.Join(write(path), broken) })
	if !errors.Is(err, broken) {
		t.Error(err)
	}
	list, err := Checkpoints(r.Dir)
	must(t, err)
	folder := filepath.Join(r.Dir, "checkpoints")
	same(t, list, []Checkpoint{
		{1000, filepath.Join(folder, "step-000001000.safetensors")},
		{2000, filepath.Join(folder, "step-000002000.safetensors")},
		{1_500_000_000, filepath.Join(folder, "step-1500000000.safetensors")},
	})
	records, _ := read(t, r.Dir)
	same(t, records[1].Text, "checkpoints/step-000001000.safetensors")
	entries, err := os.ReadDir(folder)
	must(t, err)
	same(t, len(entries), 3)
}

func TestList(t *testing.T) {
	root := t.TempDir()
	if _, err := List(filepath.Join(root, "nowhere")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no such folder: %v", err)
	}
	for i, records := range [][]Record{
		nil,
		{step1(1), {Time: 7, Step: 5, Kind: KindEnd}},
		{step1(1), step1(2), {Time: 1.5, Step: 1, Kind: KindResume}},
	} {
		r, err := Create(filepath.Join(root, "sweep", fmt.Sprint(i)), nil)
		must(t, err)
		must(t, r.Append(records...))
		must(t, r.Close())
	}
	list, err := List(root)
	must(t, err)
	for i := range list {
		list[i].Dir = filepath.Base(list[i].Dir)
	}
	same(t, list, []Summary{
		{Dir: "0", State: Stopped, Loss: math.NaN()},
		{Dir: "1", State: Finished, Step: 5, Time: 7, Loss: 1},
		{Dir: "2", State: Stopped, Step: 1, Time: 1.5, Loss: 1},
	})
}
