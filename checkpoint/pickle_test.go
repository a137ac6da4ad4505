package checkpoint

import (
	"archive/zip"
	"fmt"
	"strings"
	"testing"
)

// pickledText is a pickle, in the text of its opcodes, of a tensor with the given
// storage class, key, offset, shape and strides, all of one digit.
func pickledText(class, key string, offset int, shape, strides string) string {
	return "\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage") + "ctorch\n" + class + "\n" + text(key) + text("cpu") + "K\x0ctQ" +
		fmt.Sprintf("K%c(", offset) + tuple(shape) + "t(" + tuple(strides) + "t\x89NtR."
}

func text(s string) string { return fmt.Sprintf("X%c\x00\x00\x00%s", len(s), s) }

func tuple(digits string) string {
	var b strings.Builder
	for _, d := range digits {
		fmt.Fprintf(&b, "K%c", d-'0')
	}
	return b.String()
}

// pickles that must be refused, by what the message says.
var pickles = map[string]string{
	// what pickle.dumps gives for an object whose __reduce__ is os.system
	`opcode GLOBAL at byte 2: wants "posix.system"`:                   "\x80\x02cposix\nsystem\nq\x00" + text("echo hi") + "q\x01\x85q\x02Rq\x03.",
	`opcode STACK_GLOBAL at byte 20: wants "builtins.eval"`:           "\x80\x04\x8c\x08builtins\x94\x8c\x04eval\x94\x93\x94" + text("1") + "\x85R.",
	`opcode GLOBAL at byte 2: wants "torch.nn.modules.linear.Linear"`: "\x80\x02ctorch.nn.modules.linear\nLinear\n)\x81}b.",
	`opcode INST at byte 3: wants an instance of "os.system"`:         "\x80\x02(ios\nsystem\n.",
	`opcode NEWOBJ at byte`:                                           "\x80\x02ccollections\nOrderedDict\n)\x81.",
	`opcode OBJ at byte 28: wants an instance of "collections.Orde`:   "\x80\x02(ccollections\nOrderedDict\no.",
	`opcode EXT1 at byte 2`:                                           "\x80\x02\x82\x01.",
	`opcode PERSID`:                                                   "\x80\x02P0\n.",
	`torch.float32 cannot be called`:                                  "\x80\x02ctorch\nfloat32\n)R.",
	`wants to set the state of a checkpoint.pickledTuple`:             "\x80\x02)}b.",
	`wants to call a int64`:                                           "\x80\x02K\x01)R.",
	`not an opcode`:                                                   "\x80\x02I1\n.",
	`pickle protocol 1`:                                               "\x80\x01N.",
	`the stack is empty`:                                              "\x80\x02.",
	`there is no mark`:                                                "\x80\x02t.",
	`expected a value, got a mark`:                                    "\x80\x02(.",
	`truncated`:                                                       "\x80\x02X\xff\xff\xff\xffabc",
	`expected the end of a line`:                                      "\x80\x02ctorch",
	`nothing was stored under 7`:                                      "\x80\x02h\x07.",
	`does not fit 64 bits`:                                            "\x80\x02\x8a\x09123456789.",
	`expected UTF-8`:                                                  "\x80\x02X\x01\x00\x00\x00\xff.",
	`expected a list or a dict to fill`:                               "\x80\x02NNa.",
	`expected the id of a storage`:                                    "\x80\x02)Q.",
	`expected at least 4 arguments`:                                   "\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.",
	`expected a storage, an offset`:                                   "\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(NNNNtR.",
	`there are no tensors`:                                            "\x80\x02N.",
	`too large or too deep`:                                           "\x80\x02]q\x00h\x00a.",
	`storage data/9 is missing`:                                       pickledText("FloatStorage", "9", 0, "3", "1"),
	`reach beyond the 12 elements`:                                    pickledText("FloatStorage", "0", 1, "34", "41"),
	`reach beyond the 3 elements`:                                     pickledText("FloatStorage", "1", 0, "34", "41"),
	`shape [3 4] with strides [4]`:                                    pickledText("FloatStorage", "0", 0, "34", "4"),
	`wants "torch.QInt8Storage"`:                                      pickledText("QInt8Storage", "0", 0, "34", "41"),
}

func archiveOfPickle(program string) []byte {
	return archiveOf(zip.Store, "x/data.pkl", program, "x/data/0", string(make([]byte, 48)), "x/data/1", string(make([]byte, 12)))
}

func TestPickleRefuses(t *testing.T) {
	if err := openContent(archiveOfPickle(pickledText("FloatStorage", "0", 0, "34", "41"))); err != nil {
		t.Fatal(err)
	}
	for want, program := range pickles {
		if err := openContent(archiveOfPickle(program)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// TestPickleBomb shares one list at every level of a deep tree: 2^60 paths.
func TestPickleBomb(t *testing.T) {
	program := "\x80\x02]q\x00"
	for i := range 60 {
		program += fmt.Sprintf("](h%ch%ceq%c", i, i, i+1)
	}
	if err := openContent(archiveOfPickle(program + ".")); err == nil || !strings.Contains(err.Error(), "too large or too deep") {
		t.Errorf("got %v", err)
	}
}

func TestPickleExpanded(t *testing.T) {
	// 255^6 elements, all the one of the storage
	shape := strings.Repeat("K\xff", 6)
	strides := strings.Repeat("K\x00", 6)
	program := "\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage") + "ctorch\nFloatStorage\n" + text("0") + text("cpu") + "K\x0ctQK\x00(" + shape + "t(" + strides + "t\x89NtR."
	if err := openContent(archiveOfPickle(program)); err == nil || !strings.Contains(err.Error(), "are expanded from a storage of 12") {
		t.Errorf("got %v", err)
	}
}

// TestTorchByteOrder reads an archive as PyTorch 2 writes it, with the byte
// order beside the data.
func TestTorchByteOrder(t *testing.T) {
	program := pickledText("FloatStorage", "0", 0, "1", "1")
	for order, data := range map[string]string{"little": "\x00\x00\x80\x3f", "big": "\x3f\x80\x00\x00"} {
		content := archiveOf(zip.Store, "m/data.pkl", program, "m/.format_version", "1", "m/.storage_alignment", "64",
			"m/byteorder", order, "m/data/0", data, "m/version", "3\n", "m/.data/serialization_id", "1")
		f := open(t, writeTemp(t, "m.pt", content))
		x := make([]float32, 1)
		if err := f.Tensors[0].Float32(x); err != nil || x[0] != 1 {
			t.Errorf("%s: got %v, %v", order, x, err)
		}
	}
	if err := openContent(archiveOf(zip.Store, "m/data.pkl", program, "m/byteorder", "middle")); err == nil || !strings.Contains(err.Error(), "byteorder") {
		t.Errorf("got %v", err)
	}
	if err := openContent(archiveOf(zip.Deflate, "m/data.pkl", program)); err == nil || !strings.Contains(err.Error(), "without compression") {
		t.Errorf("got %v", err)
	}
}
