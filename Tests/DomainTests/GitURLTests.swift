import ControllerDomain
import FastableCore
import TestSupport
import Testing

@Suite struct GitURLTests {
    @Test(
        arguments: [
            "https://github.com/apple/swift-nio", "https://github.com/apple/swift-nio.git",
            "https://git.example.com:8443/a",
            "https://203.0.113.7/a/b", "https://[2001:db8::1]:8443/a", "https://host/~user/a%20b.git",
            "https://host/a?b=c", "ssh://git@host/a.git", "ssh://host:2222/a", "ssh://git@[2001:db8::1]/a",
            "git@github.com:apple/swift-nio.git", "deploy_1@git.example.com:~/a", "git@host:/srv/a.git",
        ])
    func allowed(_ url: String) throws { try Rules.gitURL(url) }

    @Test(
        arguments: [
            // Local paths, and transports that run a program.
            "", "/srv/a", "./a", "../a", "a", "file:///srv/a", "FILE:///srv/a", "ext::sh -c touch% /tmp/x", "fd::3",
            "ext::https://host/a", "git@host::a", "https::https://host/a",
            // Transports without protection, and spellings that git does not know.
            "http://host/a", "git://host/a", "ftp://host/a", "HTTPS://host/a", "https:/host/a", "https//host/a",
            // What ssh or git would read as an option.
            "-u", "--upload-pack=touch", "ssh://-oProxyCommand=touch/a", "ssh://git@-oProxyCommand=x/a", "-o@host:a",
            "ssh://-x@host/a", "git@-host:a", "git@host:-a", "https://-host/a",
            // Credentials.
            "https://token@host/a", "https://user:secret@host/a", "ssh://git:secret@host/a",
            // Hosts, ports and paths.
            "https:///a", "https://host", "https://host/", "https://ho st/a", "https://host:0/a",
            "https://host:65536/a",
            "https://host:/a", "https://host:8x/a", "https://.host/a", "https://host./a", "https://ho_st/a",
            "https://[::1/a", "https://[]/a", "https://[host]/a", "https://[::1]x/a", "git@:a", "git@host:",
            "git@host:/",
            "@host:a", "host:a", "a b@host:a", "ssh://a@b@host/a",
            // Characters.
            "https://host/a\n", "https://host/a\u{0}", "https://host/a b", "https://host/a\tb", "https://host/ä",
            "https://host/a;b", "https://host/$(x)", "https://host/`x`", "https://host/a|b", "https://host/a\\b",
            "https://host/a%0ab", "https://host/a%00", "https://host/a%1F", "https://host/a%7f", "https://host/a%",
            "https://host/a%2", "https://host/a%zz", "git@host:a%0a",
            "https://host/" + String(repeating: "a", count: 2048),
        ])
    func refused(_ url: String) { refuses(field: "url") { try Rules.gitURL(url) } }

    /// Whatever is made of the pieces: what is allowed begins like an allowed form and has no dangerous character.
    @Test(arguments: seeds())
    func randomTextsKeepTheRule(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        let pieces = [
            "https://", "ssh://", "git@", "host", ".com", ":", "/", "-", "@", "::", "ext", "file:", "a", "%0a", "\n",
            " ", "[",
            "]", "..", "22", "\u{0}", "ä",
        ]
        var allowed = 0
        for _ in 0..<5000 {
            let text = (0..<Int.random(in: 1...7, using: &generator))
                .map { _ in pieces.randomElement(using: &generator) ?? "" }.joined()
            guard (try? Rules.gitURL(text)) != nil else { continue }
            allowed += 1
            #expect(text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f })
            let isURL = text.hasPrefix("https://") || text.hasPrefix("ssh://")
            #expect(isURL || (text.contains("@") && !text.contains("::") && text.first != "-"))
            // Neither the user nor the host can be read as an option; behind them a dash means nothing.
            let authority = (isURL ? text.drop { $0 != "/" }.dropFirst(2) : text[...]).prefix { $0 != "/" }
            #expect(authority.first != "-" && (isURL || !authority.prefix { $0 != ":" }.contains("@-")))
            #expect(!isURL || !authority.contains("@-"))
        }
        #expect(allowed > 0)
    }
}
