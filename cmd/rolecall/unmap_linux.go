package main

import (
	"debug/elf"
	"fmt"
	"os"
	"syscall"
)

// unmapProgram lets go of the pages that are mapped of the program's file. Starting
// goes through most of it, and serving through a part; what is used comes back by
// itself, as a rule from the system's cache. Nothing is written to these pages, so
// nothing can be lost.
func unmapProgram() error {
	program, err := elf.Open("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("the program's file: %w", err)
	}
	defer func() { _ = program.Close() }() // it was only read
	if program.Type != elf.ET_EXEC {       // it is at other addresses than the file says, and was adapted to them
		return nil
	}
	page := uint64(os.Getpagesize()) //nolint:gosec // it is positive
	for _, part := range program.Progs {
		if part.Type != elf.PT_LOAD || part.Flags&elf.PF_W != 0 {
			continue
		}
		from, to := part.Vaddr&^(page-1), (part.Vaddr+part.Memsz)&^(page-1)
		if _, _, failed := syscall.Syscall(syscall.SYS_MADVISE, uintptr(from), uintptr(to-from), syscall.MADV_DONTNEED); failed != 0 {
			return fmt.Errorf("the program's pages: %w", failed)
		}
	}
	return nil
}
