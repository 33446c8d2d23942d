//! How the bot is linked.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let target = |what: &str| std::env::var(format!("CARGO_CFG_TARGET_{what}"));
    let is_gnu =
        target("OS").is_ok_and(|os| os == "linux") && target("ENV").is_ok_and(|env| env == "gnu");
    if is_gnu {
        // 0.1 instead of 2.5 MB of relocations, all of which the start reads into memory (glibc 2.36).
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}
