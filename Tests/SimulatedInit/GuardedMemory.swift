import Glibc

/// Memory that ends at a page which cannot be touched, and begins behind bytes that must not change: whoever writes or reads past
/// its end is ended at once, whoever writes before its beginning is found later.
struct GuardedMemory {
    private static let page = 4096
    private static let canary: UInt8 = 0xa5

    let start: UnsafeMutableRawPointer
    let size: Int
    private let base: UnsafeMutableRawPointer
    private let slack: Int

    init?(size: Int) {
        let pages = (size + Self.page - 1) / Self.page * Self.page
        let memory = mmap(nil, pages + Self.page, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_PRIVATE, -1, 0)
        guard let memory, memory != MAP_FAILED, mprotect(memory + pages, Self.page, PROT_NONE) == 0 else { return nil }
        base = memory
        slack = pages - size
        start = memory + slack
        self.size = size
        memset(base, CInt(Self.canary), slack)
    }

    /// The first of the bytes before is right, and each is like the one before it.
    var isIntact: Bool {
        slack == 0 || base.load(as: UInt8.self) == Self.canary && memcmp(base, base + 1, slack - 1) == 0
    }

    func free() { munmap(base, slack + size + Self.page) }
}
