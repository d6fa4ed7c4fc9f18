<#
.SYNOPSIS
Installs lcm-daemon for this user, on Windows.

.DESCRIPTION
    powershell -ExecutionPolicy Bypass -File examples\install\install.ps1 [--dry-run] [--yes] [--run] [--uninstall] [...]

It finds a Python, or installs one with winget after a question, and hands over to install.py.
README.md beside this file describes every option.
#>

$options = @($args)
$dry = $options -contains '--dry-run'
$yes = $options -contains '--yes'
$versions = '3.12', '3.13', '3.11'

# Returns the path of a Python that lcm-daemon runs with, or nothing. Windows has a python.exe that only opens its store:
# it prints nothing.
function Find-Python {
    $code = 'import sys, ensurepip; print(sys.executable if (3, 11) <= sys.version_info[:2] < (3, 14) and sys.maxsize > 2**32 else str())'
    foreach ($version in $versions) {
        if (Get-Command py -ErrorAction SilentlyContinue) {
            $path = & py "-$version" -c $code 2>$null
            if ($LASTEXITCODE -eq 0 -and $path) { return $path }
        }
    }
    foreach ($name in 'python', 'python3') {
        if (Get-Command $name -ErrorAction SilentlyContinue) {
            $path = & $name -c $code 2>$null
            if ($LASTEXITCODE -eq 0 -and $path) { return $path }
        }
    }
    if (Get-Command uv -ErrorAction SilentlyContinue) {
        $path = & uv python find --quiet '>=3.11,<3.14' 2>$null
        if ($LASTEXITCODE -eq 0 -and $path) { return $path }
        if (-not $dry) {
            & uv python install --quiet 3.12
            $path = & uv python find --quiet 3.12
            if ($LASTEXITCODE -eq 0 -and $path) { return $path }
        }
    }
}

# Installs a package with winget; returns whether it was installed.
function Install-Package([string] $id, [string] $purpose) {
    if (-not (Get-Command winget -ErrorAction SilentlyContinue)) { return $false }
    Write-Host "This system lacks $purpose."
    Write-Host "  winget install --exact --id $id"
    if ($dry) { return $false }
    if (-not $yes -and (Read-Host 'Install it? [Y/n]') -match '^[nN]') { return $false }
    & winget install --exact --id $id --silent --accept-source-agreements --accept-package-agreements | Out-Host
    return $LASTEXITCODE -eq 0
}

# torch is linked with the libraries of Visual C++.
if (-not ($options -contains '--uninstall') -and -not (Test-Path "$env:SystemRoot\System32\vcruntime140_1.dll")) {
    if (-not (Install-Package 'Microsoft.VCRedist.2015+.x64' 'the libraries of Visual C++, which torch needs')) {
        Write-Host 'Without them torch does not start: https://learn.microsoft.com/cpp/windows/latest-supported-vc-redist'
    }
}

$python = Find-Python
if (-not $python -and (Install-Package 'Python.Python.3.12' 'Python 3.11, 3.12 or 3.13')) {
    $env:Path = [Environment]::GetEnvironmentVariable('Path', 'Machine') + ';' + [Environment]::GetEnvironmentVariable('Path', 'User')
    $python = Find-Python
}
if (-not $python) {
    if ($dry) { exit 0 }
    Write-Host 'lcm-daemon needs Python 3.11, 3.12 or 3.13 for 64 bits: https://www.python.org/downloads. Install it, and run this again.'
    exit 1
}
& $python (Join-Path $PSScriptRoot 'install.py') @options
exit $LASTEXITCODE
