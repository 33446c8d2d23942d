#!/bin/sh
# What pangeo-bot does with a chart on a front end; run as root.
#
# chart.sh VERB KIND CHART PLACE VERSION [ARGUMENT...]
#
# KIND is `repository`: CHART of the repository at the URL PLACE, of that VERSION; or `folder`: what
# lies in the folder CHART, whose digest is PLACE (`-` for any). A folder is never written to: a
# copy gets the dependencies that its Chart.yaml names and that are not in it.
#
# chart.sh schemas …               prints each schema of values, a line of its chart before each
# chart.sh folder …                prints name, version and digest, then the same
# chart.sh crds-look …             prints `changed` if the cluster has other definitions
# chart.sh crds-apply …            applies the chart's custom resource definitions
# chart.sh dry-run … RELEASE ARGS  runs `helm upgrade` with the values of standard input; prints
#                                  errors only, since its output contains secrets
# chart.sh upgrade … DIR RELEASE ARGS  becomes `helm upgrade` with a folder copied below DIR
set -eu
umask 077

# No chart has more; a folder that does is none.
MOST_FILES=1000
MOST_KIB=10240

fail() {
    echo "Error: $1" >&2
    exit 1
}

# SHA-256 over the names and digests of all files of a folder.
digest_of() {
    (cd "$1" && find . -type f -exec sha256sum {} + | LC_ALL=C sort | sha256sum | cut -d ' ' -f 1)
}

# Copies the folder to "$dir/chart/tree" and brings its dependencies there.
copy_folder() {
    [ -d "$chart" ] || fail "path \"$chart\" not found"
    [ -f "$chart/Chart.yaml" ] || fail "Chart.yaml file is missing"
    [ "$(find -L "$chart" -type f | head -n $((MOST_FILES + 1)) | wc -l)" -le "$MOST_FILES" ] ||
        fail "the folder is no chart: it has more than $MOST_FILES files"
    [ "$(du -skL "$chart" | cut -f 1)" -le "$MOST_KIB" ] ||
        fail "the folder is no chart: it has more than $MOST_KIB KiB"
    rm -rf -- "$dir/chart"
    mkdir -p "$dir/chart"
    cp -rL -- "$chart" "$dir/chart/tree"
    digest=$(digest_of "$dir/chart/tree")
    [ "$place" = - ] || [ "$place" = "$digest" ] || fail "the folder of the chart was changed meanwhile"
    states=$(dependencies "$dir/chart/tree" 4)
    if printf '%s\n' "$states" | grep -qvxE 'ok|unpacked|'; then
        build_dependencies "$dir/chart/tree"
    fi
}

# A column of the table of sub-charts: 3 is where they come from, 4 whether they are there.
dependencies() {
    helm dependency list "$1" 2> /dev/null | sed 1d | cut -s -f "$2" | tr -d ' '
}

# helm builds from a Chart.lock only what comes from repositories that it knows by name, so a list of
# its own gets those of root and what Chart.yaml names (seen with helm 3.17.3).
build_dependencies() {
    known=$(helm env HELM_REPOSITORY_CONFIG)
    HELM_REPOSITORY_CONFIG=$dir/chart/repositories.yaml
    HELM_REPOSITORY_CACHE=$dir/chart/cache
    export HELM_REPOSITORY_CONFIG HELM_REPOSITORY_CACHE
    [ ! -f "$known" ] || cp -- "$known" "$HELM_REPOSITORY_CONFIG"
    number=0
    for url in $(dependencies "$1" 3 | grep '^https:' | sort -u); do
        number=$((number + 1))
        helm repo add "pangeo-bot-$number" "$url" > /dev/null
    done
    helm dependency build "$1" > /dev/null
}

# Gets the chart into a folder below "$dir/chart".
get_chart() {
    if [ "$kind" = folder ]; then
        copy_folder
    else
        mkdir "$dir/chart"
        helm pull "$chart" --repo="$place" --version "$version" --untar --untardir "$dir/chart"
    fi
}

# A schema of the chart itself stands under the name `.`.
print_schemas() {
    for packed in "$dir"/chart/*/charts/*.tgz; do
        [ ! -f "$packed" ] || tar -xzf "$packed" -C "${packed%/*}"
    done
    for folder in "$dir"/chart/* "$dir"/chart/*/charts/*; do
        [ -f "$folder/values.schema.json" ] || continue
        name=${folder##*/}
        [ "${folder%/*}" != "$dir/chart" ] || name=.
        printf '\n--- schema of %s\n' "$name"
        cat "$folder/values.schema.json"
    done
}

# Prints the custom resource definitions.
show_crds() {
    if [ "$kind" = folder ]; then
        copy_folder
        helm show crds "$dir/chart/tree"
    else
        helm show crds "$chart" --repo="$place" --version "$version"
    fi
}

verb=$1 kind=$2 chart=$3 place=$4 version=$5
shift 5
if [ "$verb" = upgrade ]; then
    dir=$1 release=$2
    shift 2
    copy_folder
    exec helm upgrade "$release" "$dir/chart/tree" "$@"
fi
dir=$(mktemp -d)
trap 'rm -rf -- "$dir"' EXIT
case $verb in
schemas)
    get_chart
    print_schemas
    ;;
folder)
    copy_folder
    helm show chart "$dir/chart/tree" > "$dir/about"
    echo "name $(sed -n 's/^name: *//p' "$dir/about" | tr -d '"'"'")"
    echo "version $(sed -n 's/^version: *//p' "$dir/about" | tr -d '"'"'")"
    echo "digest $digest"
    print_schemas
    ;;
crds-look | crds-apply)
    show_crds > "$dir/crds.yaml"
    grep -q '^kind: CustomResourceDefinition' "$dir/crds.yaml" || exit 0
    if [ "$verb" = crds-apply ]; then
        kubectl apply --server-side --force-conflicts -f "$dir/crds.yaml"
    else
        code=0
        kubectl diff --server-side --force-conflicts -f "$dir/crds.yaml" > /dev/null || code=$?
        case $code in
        0) ;;
        1) echo changed ;;
        *) exit "$code" ;;
        esac
    fi
    ;;
dry-run)
    release=$1
    shift
    cat > "$dir/values.yaml"
    if [ "$kind" = folder ]; then
        copy_folder
        set -- "$dir/chart/tree" "$@"
    else
        set -- "$chart" --repo="$place" --version "$version" "$@"
    fi
    helm upgrade "$release" "$@" --values "$dir/values.yaml" > /dev/null
    ;;
esac
