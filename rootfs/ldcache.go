package rootfs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
)

// parseLdCache reads /etc/ld.so.cache: soname → paths, in the loader's order.
// Entries for particular processors (hwcaps) are left out: the root gets the
// library that runs everywhere. The layout is that of glibc's
// sysdeps/generic/dl-cache.h; the older format may stand before the newer.
func parseLdCache(data []byte) (map[string][]string, error) {
	const (
		oldMagic, oldHeader, oldEntry = "ld.so-1.7.0", 16, 12
		newMagic, newHeader, newEntry = "glibc-ld.so.cache1.1", 48, 24
	)
	errCut := errors.New("ld.so.cache is cut short")
	if bytes.HasPrefix(data, []byte(oldMagic)) {
		if len(data) < oldHeader {
			return nil, errCut
		}
		skip := oldHeader + uint64(binary.NativeEndian.Uint32(data[12:]))*oldEntry
		skip = (skip + 7) &^ 7
		if skip > uint64(len(data)) {
			return nil, errCut
		}
		data = data[skip:]
	}
	if !bytes.HasPrefix(data, []byte(newMagic)) {
		return nil, errors.New("ld.so.cache has an unknown format")
	}
	if len(data) < newHeader {
		return nil, errCut
	}
	count := uint64(binary.NativeEndian.Uint32(data[20:]))
	if newHeader+count*newEntry > uint64(len(data)) {
		return nil, errCut
	}
	text := func(off uint32) string {
		if uint64(off) >= uint64(len(data)) {
			return ""
		}
		rest := data[off:]
		if i := bytes.IndexByte(rest, 0); i >= 0 {
			return string(rest[:i])
		}
		return ""
	}
	libs := map[string][]string{}
	for i := range count {
		e := data[newHeader+i*newEntry:]
		if binary.NativeEndian.Uint64(e[16:]) != 0 { // hwcap
			continue
		}
		name, p := text(binary.NativeEndian.Uint32(e[4:])), text(binary.NativeEndian.Uint32(e[8:]))
		if name != "" && strings.HasPrefix(p, "/") {
			libs[name] = append(libs[name], p)
		}
	}
	return libs, nil
}
